# SPDX-License-Identifier: GPL-2.0
"""The project's tests in the kernel's own tree, each on both boards at once."""

import lab


def test_in_tree_selftests(pair):
    listed = pair.board[1].run('cat /kselftest/kselftest-list.txt').split()
    if not listed:
        raise lab.Failure('none were built')
    for entry in listed:
        collection, program = entry.split(':')
        command = f'cd /kselftest/{collection} && RZCFS_TEST_DEV=/dev/pmem0 ./{program}'
        jobs = [board.start(command) for board in pair.board.values()]
        for job in jobs:
            result = job.wait(900)
            lines = result.output.splitlines()
            bad = [line for line in lines if line.lstrip('# ').startswith('not ok')]
            good = [line for line in lines if line.startswith('ok ')]
            if result.status or bad or not good:
                raise lab.Failure(f'board {job.board.number}: {entry}: status {result.status}\n' + '\n'.join(lines[-60:]))
            lab.say(f'board {job.board.number}: {entry}: {len(good)} passed')
