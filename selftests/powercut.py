#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Cuts the power of both boards while they work on their file systems and on each
other's, boots them again, and looks that everything acknowledged is there and that
fsck.rzcfs finds nothing. The memory file of a board keeps what its CPU and its
controller had stored; what an emulated cache would have lost is the business of the
crash explorer (scripts/explore). Ends with "N passed, N failed"; one test is one cut."""

import argparse
import contextlib
import json
import pathlib
import random
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import lab  # noqa: E402

HOME, AWAY = '/srv', '/mnt/peer'
KEEP = 3        # rounds whose files are looked at again


class Work:
    """A sequence of operations, in a directory of `owner`."""

    def __init__(self, owner, worker, number, name, seed):
        self.owner, self.remote, self.seed = owner, worker is not owner, seed
        self.place = f'{HOME}/{number}{name}'
        options = f'--seed {seed} {"--remote" if self.remote else ""}'
        self.command = f'churn {options} %s {AWAY if self.remote else HOME}/{number}{name}'
        self.job = worker.start('exec ' + self.command % 'run')
        self.options, self.acknowledged, self.state = options, None, None

    def stopped(self):
        """After the cut: what the host has been told."""
        whole = self.job.output[:self.job.output.rfind(b'\n') + 1].split()
        if self.job.status:
            raise lab.Failure(f'{self.command}: {self.job.output[-500:].decode(errors="replace")}')
        self.acknowledged = int(whole[-1]) if whole else None

    def verify(self):
        if self.acknowledged is None:       # not even its directory
            self.owner.run(f'rm -rf {self.place}', 60)
            return
        answer = self.owner.start(f'churn {self.options} verify {self.place} --acknowledged {self.acknowledged}').wait(120)
        if answer.status:
            raise lab.Failure(f'board {self.owner.number}: {answer.output}')
        state = json.loads(answer.output)
        if self.state not in (None, state):
            raise lab.Failure(f'{self.place} was in state {self.state}, is in {state}')
        self.state = state


def mount(board):
    board.run(f'mkdir -p {HOME}; mount -t rzcfs /dev/pmem0 {HOME} -o export,dev=eth0', 60)


class Cuts:
    def __init__(self, pair, seed):
        self.pair, self.boards = pair, list(pair.board.values())
        self.random, self.rounds, self.old = random.Random(seed), 0, []
        self.cuts = self.operations = self.partial = 0
        for board in self.boards:
            board.run('mkfs.rzcfs -q -f /dev/pmem0', 60)
            mount(board)

    def boot(self, boards):
        for board in boards:
            board.power_on_again()
        for board in boards:
            board.booted()

    def round(self):
        """Cuts the power of both boards, sometimes of one again while it recovers."""
        self.rounds += 1
        rnd, one, two = self.random, *self.boards
        for board, peer in ((one, two), (two, one)):
            board.run(f'mkdir -p {AWAY}; mount -t rzcfs {peer.mac}@eth0:/ {AWAY}', 60)
        works = [Work(owner, worker, self.rounds, name, rnd.randrange(1 << 32))
                 for owner, peer in ((one, two), (two, one))
                 for name, worker in (('a', owner), ('b', owner), ('c', peer))]
        time.sleep(rnd.uniform(0.2, 2.5) * lab.SLOWER)
        for board in rnd.sample(self.boards, 2):
            board.power_off()
            self.cuts += 1
            time.sleep(rnd.choice((0, 0, rnd.uniform(0, 0.5))))
        for work in works:
            work.stopped()
            self.operations += work.acknowledged or 0
        self.boot(self.boards)
        again = [board for board in self.boards if rnd.random() < 0.3]
        for board in again:
            board.start(f'mkdir -p {HOME}; mount -t rzcfs /dev/pmem0 {HOME}')
            time.sleep(rnd.uniform(0, 0.1))
            board.power_off()
            self.cuts += 1
        self.boot(again)
        for board in self.boards:
            mount(board)
        for work in (*self.old, *works):
            work.verify()
        self.partial += sum(work.state['partial'] for work in works if work.state)
        self.old += works
        for work in self.old[:-KEEP * len(works)]:
            work.owner.run(f'rm -rf {work.place}', 120)
        self.old = self.old[-KEEP * len(works):]
        for board in self.boards:
            board.run(f'umount {HOME}; fsck.rzcfs -n -f /dev/pmem0', 120)
            mount(board)

    def stop(self):
        for board in self.boards:
            with contextlib.suppress(lab.Failure):
                board.run(f'umount {AWAY}; umount {HOME}', 60, check=False)


def cut(pair, cuts, seed, progress=None):
    """At least so many cuts; a failure names its round. Gives what was done."""
    work = Cuts(pair, seed)
    while work.cuts < cuts:
        try:
            work.round()
        except lab.Failure as failure:
            raise lab.Failure(f'seed {seed}, round {work.rounds}, after {work.cuts} cuts: {failure}') from failure
        if progress:
            progress(work)
    work.stop()
    return work


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('cuts', nargs='?', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--image', help='kernel (default: scripts/build zynqmp)')
    options = parser.parse_args()
    start, done, operations = time.monotonic(), 0, 0

    def progress(work):
        nonlocal done, operations
        done, operations = work.cuts, work.operations
        lab.say(f'{work.cuts} cuts, {work.operations} operations acknowledged, {work.partial} writes in flight '
                f'were there in part; {time.monotonic() - start:.0f} s')

    failed = 0
    try:
        with lab.Pair(options.image or lab.default_image(), keep=lab.BUILD / 'powercut') as pair:
            cut(pair, options.cuts, options.seed, progress)
    except (lab.Failure, OSError, ValueError, LookupError) as failure:
        print(f'# {failure.__class__.__name__}: {failure}')
        failed = 1
    if not failed and operations < 20 * done:
        print(f'# only {operations} operations were acknowledged in {done} cuts: that shows nothing')
        failed = 1
    print(f'{done} passed, {failed} failed')
    return failed


if __name__ == '__main__':
    sys.exit(main())
