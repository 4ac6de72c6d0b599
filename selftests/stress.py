#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Debian's own stress tests on rzcfs: stress-ng, fio with verification, dbench, iozone.

Each runs for some minutes on the NVM of an emulated board, two boards at a time, and
must end well, with no complaint of the kernel and with nothing that fsck.rzcfs finds.
Or, with --uml, each in a User-Mode Linux of its own, where the medium is volatile memory.
Ends with "N passed, N failed"."""

import argparse
import functools
import os
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import lab  # noqa: E402
import uml  # noqa: E402

HOME = '/srv'
PACKAGES = 'stress-ng', 'fio', 'dbench', 'iozone3'

# Not about the file system in question.
ELSEWHERE = 'binderfs,eventfd,ioprio,procfs,sysfs'

FIO = '''
[global]
directory={home}
size=24m
runtime={seconds}
time_based
verify=crc32c
verify_fatal=1
verify_backlog=512
randseed={seed}
group_reporting

[whole-blocks]
rw=randwrite
bs=4k
ioengine=psync

[odd-lengths]
rw=randwrite
bs=3000
ioengine=psync

[mapped]
rw=randwrite
bs=4k
ioengine=mmap

[direct]
rw=randwrite
bsrange=4k-128k
ioengine=libaio
iodepth=8
direct=1
'''


def stress_ng(seconds):
    """All of its stressors for file systems, one after the other."""
    return (f'n=$(stress-ng --class filesystem? 2>&1 | tr " " "\\n" | grep -c .); each=$(({seconds} / (n - 8) + 1)); '
            f'stress-ng --class filesystem --exclude {ELSEWHERE} --sequential 2 --timeout $each --verify '
            f'--temp-path {HOME} --iomix-bytes 32m --hdd-bytes 32m --metrics-brief 2>&1')


def fio(seconds):
    job = FIO.format(home=HOME, seconds=seconds, seed=1)
    return f"cat >/tmp/job.fio <<'EOF'\n{job}\nEOF\nfio --output-format=normal /tmp/job.fio 2>&1"


def dbench(seconds):
    return f'dbench -D {HOME} -c /usr/share/dbench/client.txt -t {seconds} 2 2>&1 | tail -n 40; exit ${{PIPESTATUS[0]}}'


def iozone(seconds):
    """Every byte validated, all its patterns of access, again until the time is over."""
    return (f'end=$((SECONDS + {seconds})); while ((SECONDS < end)); do '
            f'for how in "" "-B" "-I" "-o"; do iozone -+d -a -n 256k -g 16m -q 1m -f {HOME}/iozone.tmp $how >/tmp/log 2>&1 || '
            f'{{ tail -n 30 /tmp/log; exit 1; }}; ((SECONDS < end)) || break; done; done; '
            f'! grep -iE "error|mismatch|compare" /tmp/log')


TOOLS = {'stress-ng': stress_ng, 'fio': fio, 'dbench': dbench, 'iozone': iozone}


def stress(board, name, seconds):
    """None, or why it failed."""
    try:
        board.run(f'mkfs.rzcfs -q -f /dev/pmem0; mkdir -p {HOME}; mount -t rzcfs /dev/pmem0 {HOME}', 60)
        result = board.run(TOOLS[name](seconds), 4 * seconds + 900, check=False)
        (lab.BUILD / 'stress').mkdir(parents=True, exist_ok=True)
        (lab.BUILD / 'stress' / f'{name}.log').write_text(result.output)
        if result.status:
            return f'exit status {result.status}: {result.output[-3000:]}'
        board.run(f'umount {HOME} && fsck.rzcfs -n -f /dev/pmem0', 300)
        board.check()
    except (lab.Failure, OSError) as failure:
        return str(failure)
    return None


def stress_uml(image, name, seconds):
    """None, or why it failed."""
    script = (f'mkdir -p {HOME} && mount -t rzcfs none {HOME} -o ram=256M && ({TOOLS[name](seconds)}) && '
              f'umount {HOME}')
    try:
        uml.run(image, script, 4 * seconds + 900, lab.BUILD / 'stress' / f'{name}-uml.log', packages=PACKAGES)
    except (lab.Failure, lab.Skip, OSError) as failure:
        return str(failure)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=10, help='for each tool (10)')
    parser.add_argument('--image', required=True, help='kernel')
    parser.add_argument('--uml', action='store_true', help='the kernel is User-Mode Linux')
    parser.add_argument('tool', nargs='*', help=f'of {", ".join(TOOLS)}; all of them')
    options = parser.parse_args()
    if unknown := set(options.tool) - set(TOOLS):
        parser.error(f'no such tool: {", ".join(sorted(unknown))}')
    todo, results = [name for name in TOOLS if name in (options.tool or TOOLS)], {}
    os.environ['RZCFS_PACKAGES'] = ','.join(PACKAGES)

    def worker(where, run):
        while todo:
            name = todo.pop(0)
            lab.say(f'{name} for {options.minutes:g} minutes {where}')
            results[name] = run(name, int(options.minutes * 60))
            print(f'{"not ok" if results[name] else "ok"} {len(results)} - {name}', flush=True)
            if results[name]:
                print('# ' + results[name].replace('\n', '\n# '), flush=True)
                break   # what state it is in, nobody knows

    def both(workers):
        threads = [threading.Thread(target=worker, args=one) for one in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    if options.uml:
        both([('under User-Mode Linux', functools.partial(stress_uml, options.image))] * 2)
    else:
        with lab.Pair(options.image, keep=lab.BUILD / 'stress/boards') as pair:
            both((f'on board {n}', functools.partial(stress, board)) for n, board in pair.board.items())
    failed = sum(1 for why in results.values() if why) + len(todo)
    print(f'{len(results) + len(todo) - failed} passed, {failed} failed')
    return bool(failed)


if __name__ == '__main__':
    sys.exit(main())
