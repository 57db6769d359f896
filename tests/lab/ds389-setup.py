#!/usr/bin/python3
"""`dscreate from-file INF` for a machine without systemd.

In lib389 2.3.1 `systemd = False` in the INF file is not enough: it only skips `systemctl enable`, and the new instance is still started the
way defaults.inf says, by systemctl. `containerised=True` would start it itself but moves the socket and the pid file to /data. So: the same
SetupDs with DirSrv.with_systemd() answering no, and with a systemd-detect-virt that need not be installed (lib389 does not expect it to be
missing) and that answers "in a container", so that nothing is put into /dev/shm."""
import logging
import os
import sys
import tempfile

with tempfile.TemporaryDirectory() as folder:
    answer = os.path.join(folder, "systemd-detect-virt")
    with open(answer, "w") as script:
        script.write("#!/bin/sh\nexit 0\n")
    os.chmod(answer, 0o755)
    os.environ["PATH"] = folder + ":" + os.environ["PATH"]

    from lib389 import DirSrv
    from lib389.instance.setup import SetupDs

    DirSrv.with_systemd = lambda self: False
    log = logging.getLogger("dscreate")
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    created = SetupDs(verbose=False, dryrun=False, log=log, containerised=False).create_from_inf(sys.argv[1])
sys.exit(0 if created else 1)
