# groupsnap: one Makefile, no recursion. `make help` lists the targets.
#
#   SANITIZE=address,undefined   builds with these sanitizers, in a build folder of its own
#   DEVELOPER=1                  warnings are errors
#   CC=clang                     another compiler, again in a build folder of its own
#   PROGRAM_PREFIX=gs-           installs gs-snap and gs-replay (Ubuntu already has a `snap`)

VERSION := 0.1.0

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
AR ?= ar
PKG_CONFIG ?= pkg-config
prefix ?= /usr/local
bindir ?= $(prefix)/bin
mandir ?= $(prefix)/share/man
bashcompdir ?= $(prefix)/share/bash-completion/completions
INSTALL ?= install
PYTHON ?= /usr/bin/python3
OPT ?= -O2 -g

config := $(notdir $(CC))
ifneq ($(SANITIZE),)
config := $(config)-$(subst $(comma),-,$(subst address,asan,$(subst undefined,ubsan,$(SANITIZE))))
endif
comma := ,
B := build/$(config)

layers := libcommon formats libgitlab libexport libreplay cmd
no_deps_goals := deps help clean dist format check-layers
ifneq ($(filter-out $(no_deps_goals),$(or $(MAKECMDGOALS),all)),)
msgpack := $(shell $(PKG_CONFIG) --exists msgpack-c 2>/dev/null && echo msgpack-c || echo msgpack)
pkgs := libarchive libzstd $(msgpack) libcurl libsodium yyjson sqlite3
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(pkgs) 2>/dev/null)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(pkgs) 2>/dev/null)
endif

WARN := -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings \
  -Wvla -Wundef -Wno-unused-parameter $(if $(findstring clang,$(CC)),,-Wno-format-truncation)
ifneq ($(DEVELOPER),)
WARN += -Werror
endif
SAN := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
HARDEN := $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fPIE
GS_CPPFLAGS := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DGS_VERSION='"$(VERSION)"' -I. -include libcommon/banned.h $(CPPFLAGS)
GS_CFLAGS := -std=gnu11 -pthread $(OPT) $(WARN) $(HARDEN) $(SAN) $(PKG_CFLAGS) $(CFLAGS)
GS_LDFLAGS := -pthread -pie -Wl,-z,relro,-z,now $(SAN) $(LDFLAGS)

src = $(sort $(wildcard $(1)/*.c $(1)/*/*.c))
obj = $(patsubst %.c,$(B)/%.o,$(1))
common_src := $(call src,libcommon)
formats_src := $(call src,formats)
gitlab_src := $(call src,libgitlab)
export_src := $(call src,libexport)
replay_src := $(call src,libreplay)
cmd_src := $(sort $(wildcard cmd/*.c))
snap_src := $(sort $(wildcard cmd/snap/*.c))
replaycmd_src := $(sort $(wildcard cmd/replay/*.c))
graphql_docs := $(sort $(wildcard libgitlab/graphql/*.graphql))

# from the top layer down: a static library may use only what stands behind it
libs_snap := $(B)/libcmd.a $(B)/libexport.a $(B)/libgitlab.a $(B)/libformats.a $(B)/libcommon.a
libs_replay := $(B)/libcmd.a $(B)/libreplay.a $(B)/libgitlab.a $(B)/libformats.a $(B)/libcommon.a

all: snap replay ## build both tools

snap: $(B)/snap
	@ln -sf $< $@
replay: $(B)/replay
	@ln -sf $< $@

$(B)/snap: $(call obj,$(snap_src)) $(libs_snap)
	$(CC) $(GS_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)
$(B)/replay: $(call obj,$(replaycmd_src)) $(libs_replay)
	$(CC) $(GS_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)

$(B)/libcommon.a: $(call obj,$(common_src))
$(B)/libformats.a: $(call obj,$(formats_src))
$(B)/libgitlab.a: $(call obj,$(gitlab_src))
$(B)/libexport.a: $(call obj,$(export_src))
$(B)/libreplay.a: $(call obj,$(replay_src))
$(B)/libcmd.a: $(call obj,$(cmd_src))
$(B)/%.a:
	@rm -f $@
	$(AR) rcsD $@ $^

# GraphQL documents become C strings: libgitlab/graphql/group_labels.graphql -> gl_doc_group_labels
$(B)/gen/gl_docs.h: $(graphql_docs) Makefile
	@mkdir -p $(@D)
	@{ for f in $(graphql_docs); do \
	  printf 'static const char gl_doc_%s[] =\n' "$$(basename $$f .graphql)"; \
	  sed -e '/^ *#/d' -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^ */"/' -e 's/$$/\\n"/' $$f; echo ';'; done; } >$@.tmp
	@mv $@.tmp $@

$(B)/%.o: %.c $(B)/.flags
	@mkdir -p $(@D)
	$(CC) $(GS_CPPFLAGS) -I$(B)/gen $(GS_CFLAGS) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<
$(call obj,$(gitlab_src)): | $(B)/gen/gl_docs.h

# everything is built again when the flags change
flags := $(CC) $(GS_CPPFLAGS) $(GS_CFLAGS) $(GS_LDFLAGS) $(PKG_LIBS)
$(B)/.flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(flags))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(flags))' >$@

deps: ## install what is needed to build, test and demonstrate (Debian 12 or 13)
	@.ci/deps

# what the goals that do all set-up begin with
.PHONY: ready
ready:
	@.ci/deps --check >/dev/null 2>&1 || .ci/deps

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  %-14s %s\n", $$1, $$2 }'

clean: ## remove what was built
	rm -rf build snap replay

format: ## format the C code in place
	clang-format -i $$(git ls-files '*.c' '*.h')

-include $(shell find $(B) -name '*.d' 2>/dev/null)

.PHONY: all deps help clean format FORCE
