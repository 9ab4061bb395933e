"""A destination: an importer that behaves as GitLab's own does, for bundles that are served or packed for it.

    source = client.Source(url, token, cafile, generation)     "old": Graphlient and HEAD, "new": plain documents and batches
    direct.Migration(source, database).run(full path)           direct transfer
    archive.load(path, database)                                file import

It is written from a description of GitLab's behaviour, as the simulator is, and shares nothing with the tools."""
