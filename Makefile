# groupsnap: one Makefile, no recursion. `make help` lists the targets.
#
#   SANITIZE=address,undefined   builds with these sanitizers, in a build folder of its own
#   DEVELOPER=1                  warnings are errors
#   FAULTS=1                     with the points at which tests end the tools (libcommon/fault.h), in a build folder of its own
#   V=1                          shows the commands
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

comma := ,
config := $(notdir $(CC))
ifneq ($(SANITIZE),)
config := $(config)-$(subst $(comma),-,$(subst address,asan,$(subst undefined,ubsan,$(SANITIZE))))
endif
ifneq ($(FUZZER),)
config := $(config)-fuzz
endif
ifneq ($(FAULTS),)
config := $(config)-faults
endif
B := build/$(config)

# V=1 shows the commands
Q := $(if $(V),,@)

layers := libcommon formats libgitlab libexport libreplay libbooks libserve cmd
no_deps_goals := ready deps demo check help clean dist format lint check-layers
ifneq ($(filter-out $(no_deps_goals),$(or $(MAKECMDGOALS),all)),)
msgpack := $(shell $(PKG_CONFIG) --exists msgpack-c 2>/dev/null && echo msgpack-c || echo msgpack)
pkgs := libarchive libzstd zlib libisal libmicrohttpd $(msgpack) libcurl libsodium yyjson sqlite3
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(pkgs) 2>/dev/null)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(pkgs) 2>/dev/null)
endif

WARN := -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings \
  -Wvla -Wundef -Wno-unused-parameter $(if $(findstring clang,$(CC)),,-Wno-format-truncation)
ifneq ($(DEVELOPER),)
WARN += -Werror
endif
SAN := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
SAN += $(if $(FUZZER),-fsanitize=fuzzer-no-link)
HARDEN := $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fPIE
GS_CPPFLAGS := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DGS_VERSION='"$(VERSION)"' -I. -include libcommon/banned.h $(if $(FAULTS),-DGS_FAULTS) $(CPPFLAGS)
GS_CFLAGS := -std=gnu11 -pthread $(OPT) $(WARN) $(HARDEN) $(SAN) $(PKG_CFLAGS) $(CFLAGS)
GS_LDFLAGS := -pthread -pie -Wl,--as-needed -Wl,-z,relro,-z,now $(SAN) $(LDFLAGS)

src = $(sort $(wildcard $(1)/*.c $(1)/*/*.c))
obj = $(patsubst %.c,$(B)/%.o,$(1))
common_src := $(call src,libcommon)
formats_src := $(call src,formats)
gitlab_src := $(call src,libgitlab)
export_src := $(call src,libexport)
replay_src := $(call src,libreplay)
books_src := $(call src,libbooks)
serve_src := $(call src,libserve)
cmd_src := $(sort $(wildcard cmd/*.c))
snap_src := $(sort $(wildcard cmd/snap/*.c))
replaycmd_src := $(sort $(wildcard cmd/replay/*.c))
graphql_docs := $(sort $(wildcard libgitlab/graphql/*.graphql))

# from the top layer down: a static library may use only what stands behind it
libs_snap := $(B)/libcmd.a $(B)/libexport.a $(B)/libgitlab.a $(B)/libformats.a $(B)/libcommon.a
libs_replay := $(B)/libcmd.a $(B)/libserve.a $(B)/libbooks.a $(B)/libexport.a $(B)/libreplay.a $(B)/libgitlab.a $(B)/libformats.a $(B)/libcommon.a

all: snap replay ## build both tools

# the names in this folder are of a build that a person would use
snap: $(B)/snap
	$(if $(FAULTS),,@ln -sf $< $@)
replay: $(B)/replay
	$(if $(FAULTS),,@ln -sf $< $@)

$(B)/snap: $(call obj,$(snap_src)) $(libs_snap)
	$(if $(V),,@echo '  LINK    $@')
	$(Q)$(CC) $(GS_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)
$(B)/replay: $(call obj,$(replaycmd_src)) $(libs_replay)
	$(if $(V),,@echo '  LINK    $@')
	$(Q)$(CC) $(GS_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)

$(B)/libcommon.a: $(call obj,$(common_src))
$(B)/libformats.a: $(call obj,$(formats_src))
$(B)/libgitlab.a: $(call obj,$(gitlab_src))
$(B)/libexport.a: $(call obj,$(export_src))
$(B)/libreplay.a: $(call obj,$(replay_src))
$(B)/libbooks.a: $(call obj,$(books_src))
$(B)/libserve.a: $(call obj,$(serve_src))
$(B)/libcmd.a: $(call obj,$(cmd_src))
$(B)/%.a:
	@rm -f $@
	$(Q)$(AR) rcsD $@ $^

# GraphQL documents become C strings: libgitlab/graphql/group_labels.graphql -> gl_doc_group_labels (the folder tells of one that was renamed)
$(B)/gen/gl_docs.h: $(graphql_docs) libgitlab/graphql Makefile
	@mkdir -p $(@D)
	@{ for f in $(graphql_docs); do \
	  printf 'static const char gl_doc_%s[] =\n' "$$(basename $$f .graphql)"; \
	  sed -e '/^ *#/d' -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^ */"/' -e 's/$$/\\n"/' $$f; echo ';'; done; \
	  printf '#define GL_DOCS(X)'; for f in $(graphql_docs); do printf ' X(%s)' "$$(basename $$f .graphql)"; done; echo; } >$@.tmp
	@mv $@.tmp $@

$(B)/%.o: %.c $(B)/.flags
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC      $<')
	$(Q)$(CC) $(GS_CPPFLAGS) -I$(B)/gen $(GS_CFLAGS) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<
$(call obj,$(gitlab_src)): | $(B)/gen/gl_docs.h

# everything is built again when the flags change
flags := $(CC) $(GS_CPPFLAGS) $(GS_CFLAGS) $(GS_LDFLAGS) $(PKG_LIBS)
$(B)/.flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(flags))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(flags))' >$@

# ---- tests ----

unit_src := $(sort $(wildcard tests/unit/test_*.c))
unit_bin := $(patsubst %.c,$(B)/%,$(unit_src))
fuzz_src := $(sort $(wildcard tests/fuzz/fuzz_*.c))
fuzz_replay := $(patsubst tests/fuzz/%.c,$(B)/tests/fuzz/replay/%,$(fuzz_src))
fuzz_bin := $(patsubst tests/fuzz/%.c,$(B)/tests/fuzz/%,$(fuzz_src))
tool_src := $(sort $(wildcard tests/e2e/*.c tests/bench/*.c tests/golden/*.c))
tool_bin := $(patsubst %.c,$(B)/%,$(tool_src))
unit_shared := $(call obj,$(sort $(wildcard tests/unit/support/*.c)))
libs_all := $(B)/libcmd.a $(B)/libserve.a $(B)/libbooks.a $(B)/libexport.a $(B)/libreplay.a $(B)/libgitlab.a $(B)/libformats.a $(B)/libcommon.a

$(unit_bin): %: %.o $(unit_shared) $(libs_all)
	$(if $(V),,@echo '  LINK    $@')
	$(Q)$(CC) $(GS_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lcmocka $(LDLIBS)
$(tool_bin): %: %.o $(libs_all)
	$(if $(V),,@echo '  LINK    $@')
	$(Q)$(CC) $(GS_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)
# each fuzz target twice: with a plain main() that replays files, and (FUZZER=1, clang) with libFuzzer's
$(fuzz_replay): $(B)/tests/fuzz/replay/%: $(B)/tests/fuzz/%.o $(B)/tests/fuzz/standalone.o $(libs_all)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LINK    $@')
	$(Q)$(CC) $(GS_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)
ifneq ($(FUZZER),)
$(fuzz_bin): %: %.o $(libs_all)
	$(if $(V),,@echo '  LINK    $@')
	$(Q)$(CC) $(GS_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(PKG_LIBS) $(LDLIBS)
endif

# a disk that fails, to be loaded in front of the tools; without sanitizers, which want to be first
$(B)/tests/crash/disk.so: tests/crash/disk.c $(B)/.flags
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LINK    $@')
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -fPIC -shared -pthread -o $@ $< -ldl
ifneq ($(FAULTS),)
all: $(B)/tests/crash/disk.so
endif

tests: $(unit_bin) $(fuzz_replay) $(tool_bin)
fuzzers: $(fuzz_bin)

export B SANITIZE
# build on all cores unless -j was given
par := $(if $(findstring j,$(filter-out --%,$(MAKEFLAGS))),,-j$(shell nproc 2>/dev/null || echo 2))
suites := tests/check --build $(B)

# a sanitizer finding must be a failed test whatever the program does with its exit code
check: export ASAN_OPTIONS ?= detect_leaks=1:abort_on_error=0:exitcode=99
check: export UBSAN_OPTIONS ?= print_stacktrace=1:halt_on_error=1

check: ready ## run every test; ends with one line `N passed, N failed, N skipped`
	@$(MAKE) --no-print-directory $(par) all tests
	@$(MAKE) --no-print-directory $(par) FAULTS=1 all
	@$(suites) layers headers unit fuzz cli e2e crash

check-unit: ## unit tests
	@$(MAKE) --no-print-directory $(par) tests
	@$(suites) unit
check-cli: ## command line tests
	@$(MAKE) --no-print-directory $(par) all
	@$(suites) cli
check-e2e: ## tests of the tools against the simulator
	@$(MAKE) --no-print-directory $(par) all tests
	@$(suites) e2e
check-crash: ## kills, power failures, lost answers and full disks at every moment: half an hour on 2 cores
	@$(MAKE) --no-print-directory $(par) all
	@$(MAKE) --no-print-directory $(par) FAULTS=1 all
	@GS_BUILD=$(CURDIR)/$(B) tests/crash/campaign --plan long
MISCHIEF_SEEDS ?= 500
check-mischief: ## damage a loaded target in MISCHIEF_SEEDS (500) seeded ways, and see that 'replay reconcile' names each
	@$(MAKE) --no-print-directory $(par) all
	@GS_BUILD=$(CURDIR)/$(B) tests/e2e/test_reconcile_mischief.py --seeds $(MISCHIEF_SEEDS)
HOSTILE_REQUESTS ?= 12000
HOSTILE_SEED ?= 1
check-hostile: export ASAN_OPTIONS ?= detect_leaks=1:abort_on_error=0:exitcode=99
check-hostile: export UBSAN_OPTIONS ?= print_stacktrace=1:halt_on_error=1
check-hostile: ## HOSTILE_REQUESTS (12000) of HOSTILE_SEED (1) that mean harm to 'replay serve', with sanitizers and without
	@$(MAKE) --no-print-directory $(par) SANITIZE=address,undefined all
	@$(MAKE) --no-print-directory $(par) SANITIZE= all
	@GS_BUILD=$(CURDIR)/build/$(notdir $(CC))-asan-ubsan tests/e2e/test_serve_hostile.py --requests $(HOSTILE_REQUESTS) --seed $(HOSTILE_SEED)
	@GS_BUILD=$(CURDIR)/build/$(notdir $(CC)) tests/e2e/test_serve_hostile.py --requests $(HOSTILE_REQUESTS) --seed $(HOSTILE_SEED)
check-layers: ## includes point from the top layer down only
	@$(suites) layers
check-headers: ## every header compiles alone
	@$(suites) headers

FUZZ_SECONDS ?= 120
check-fuzz: ## run every fuzzer for FUZZ_SECONDS (120) with clang's libFuzzer
	@$(MAKE) --no-print-directory $(par) CC=clang SANITIZE=address,undefined FUZZER=1 fuzzers
	@tests/fuzz/run-fuzzers build/clang-asan-ubsan-fuzz/tests/fuzz $(FUZZ_SECONDS)

demo: ready ## the main job: capture a sample tree, verify it, load it into an empty GitLab (both simulated)
	@$(MAKE) --no-print-directory -s $(par) all
	@tests/demo

bench: ## measurements beside stock tools (not a test)
	@$(MAKE) --no-print-directory -s $(par) all tests
	@tests/bench/run

lint: ## findings of clang-tidy and shellcheck to look at, where they are installed (not a test)
	@tests/lint

format: ## format the C code in place
	clang-format -i $$(git ls-files '*.c' '*.h')

# ---- the house ----

deps: ## install what is needed to build, test and demonstrate (Debian 12 or 13)
	@.ci/deps

# what the goals that do all set-up begin with
ready:
	@.ci/deps --check >/dev/null 2>&1 || .ci/deps

install: all ## install the tools, their man pages and completion (PROGRAM_PREFIX=gs- for other names)
	$(INSTALL) -d $(DESTDIR)$(bindir) $(DESTDIR)$(mandir)/man1 $(DESTDIR)$(bashcompdir)
	@set -e; for t in snap replay; do n=$(PROGRAM_PREFIX)$$t; \
	  echo "  INSTALL $$n"; \
	  $(INSTALL) -m 755 $(B)/$$t $(DESTDIR)$(bindir)/$$n; \
	  SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(date +%s)} $(B)/$$t __man $$n >$(B)/$$n.1; \
	  $(INSTALL) -m 644 $(B)/$$n.1 $(DESTDIR)$(mandir)/man1/$$n.1; \
	  $(B)/$$t __complete bash $$n >$(B)/$$n.bash; \
	  $(INSTALL) -m 644 $(B)/$$n.bash $(DESTDIR)$(bashcompdir)/$$n; done

uninstall: ## remove what install put there
	@for t in snap replay; do n=$(PROGRAM_PREFIX)$$t; \
	  rm -f $(DESTDIR)$(bindir)/$$n $(DESTDIR)$(mandir)/man1/$$n.1 $(DESTDIR)$(bashcompdir)/$$n; done

dist: ## a source archive of the last commit
	git archive --prefix=groupsnap-$(VERSION)/ -o groupsnap-$(VERSION).tar.gz HEAD

clean: ## remove what was built
	rm -rf build snap replay

help: ## list the targets
	@echo "make TARGET [SANITIZE=address,undefined] [DEVELOPER=1] [CC=clang] [PROGRAM_PREFIX=gs-]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "  %-14s %s\n", $$1, $$2 }'

-include $(shell find $(B) -name '*.d' 2>/dev/null)

.PHONY: all ready deps demo check check-unit check-cli check-e2e check-crash check-mischief check-hostile check-layers check-headers check-fuzz bench lint format \
  install uninstall dist clean help tests fuzzers FORCE
.SECONDARY:
