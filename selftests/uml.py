#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The in-tree kselftests under User-Mode Linux, where rzcfs has no FS_DAX and takes its
own path to mapped files: TAP on standard output, then "N passed, N failed"."""

import argparse
import concurrent.futures
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import lab  # noqa: E402

INIT = '''#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t debugfs debugfs /sys/kernel/debug
mkdir -p /dev/shm
for place in /dev/shm /run /tmp; do mount -t tmpfs tmpfs $place; done
ip link set lo up
echo "user space is up"
({script}
)
echo "exit status $?"
busybox poweroff -f
'''
# said by a UML whose buffer for the host's floating-point registers is too small
NO_ROOM = re.compile(r'fp[ _]reg(ister)?s (failed|returned)')


def run(image, script, seconds, log, files=(), memory='1536M', packages=()):
    """Output of a bash script, the first process of a User-Mode Linux with Debian's programs.

    files: (file on the host, path there); packages: further ones of Debian's. Raises
    lab.Failure if it fails or takes longer, lab.Crash if the kernel complains, lab.Skip if
    no user space starts on this host.
    """
    log = pathlib.Path(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix='rzcfs-uml-'))
    try:
        init = directory / 'init'
        init.write_text(INIT.format(script=script))
        initrd = lab.initramfs(directory, [(init, 'init'), *files], 'amd64', ','.join(('busybox', *packages)))
        with open(log, 'wb') as output:
            uml = lab.Process([image, f'mem={memory}', f'initrd={initrd}', 'con0=fd:0,fd:1', 'con=null', 'console=tty',
                               'panic=-1', f'TMPDIR={directory}'], log, stdin=subprocess.DEVNULL, stdout=output,
                              cwd=directory)
            try:
                uml.child.wait(seconds * lab.PATIENCE)
            except subprocess.TimeoutExpired:
                uml.stop()
                raise lab.Failure(f'no end within {seconds * lab.PATIENCE:.0f} s, see {log}') from None
    finally:
        shutil.rmtree(directory)
    text = log.read_text(errors='replace').replace('\r', '')
    if NO_ROOM.search(text):
        raise lab.Skip('User-Mode Linux has no room for the floating-point registers of this CPU')
    for line in text.splitlines():
        if lab.COMPLAINT.search(line) and not lab.HARMLESS.search(line):
            raise lab.Crash(f'{log}:\n{text[text.index(line):][:6000]}')
    found = re.search(r'user space is up\n(.*)^exit status (\d+)$', text, re.DOTALL | re.MULTILINE)
    if not found or found[2] != '0':
        raise lab.Failure(f'{f"exit status {found[2]}" if found else "no end"}, see {log}:\n{text[-3000:]}')
    return found[1]


def kselftest(image, entry, files):
    """(name, lines of TAP that passed, why it failed)"""
    collection, program = entry.split(':')
    try:
        output = run(image, f'cd /kselftest/{collection} && ./{program}', 900,
                     lab.BUILD / 'uml' / f'{program}.log', files)
    except lab.Failure as failure:
        return entry, 0, str(failure)
    good = [line for line in output.splitlines() if line.startswith('ok ')]
    bad = [line for line in output.splitlines() if line.lstrip('# ').startswith('not ok')]
    return entry, len(good), '\n'.join(bad) if bad or not good else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--image', help='kernel (default: scripts/build um)')
    options = parser.parse_args()
    passed = failed = 0
    try:
        if platform.machine() != 'x86_64':
            raise lab.Skip(f'not tried on {platform.machine()}')
        lab.need('mmdebstrap cpio rsync build-essential')
        image = options.image or lab.default_image('um')
        files = lab.build_kselftests(pathlib.Path(image).resolve().parents[1])
        listed = next(host for host, there in files if there == 'kselftest/kselftest-list.txt').read_text().split()
        print(f'1..{len(listed)}', flush=True)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for number, (entry, good, why) in enumerate(pool.map(lambda e: kselftest(image, e, files), listed), 1):
                print(f'{"not ok" if why else "ok"} {number} - {entry} under User-Mode Linux # {good} passed')
                if why:
                    print('# ' + why.replace('\n', '\n# '))
                passed, failed = passed + (not why), failed + bool(why)
    except lab.Skip as reason:
        print(f'1..0 # SKIP {reason}')
    except (lab.Failure, subprocess.SubprocessError) as failure:
        print(f'# {failure}')
        failed += 1
    print(f'{passed} passed, {failed} failed')
    return bool(failed)


if __name__ == '__main__':
    sys.exit(main())
