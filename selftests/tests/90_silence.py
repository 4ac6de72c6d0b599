# SPDX-License-Identifier: GPL-2.0
"""What a debug kernel has to say after everything else. Its other complaints
(lockdep, KASAN, DMA-API …) end the test in which they come."""

import lab


def test_no_memory_is_leaked(pair):
    for board in pair.board.values():
        if 'no' in board.run('[ -e /sys/kernel/debug/kmemleak ] || echo no'):
            raise lab.Skip('the kernel has no kmemleak; scripts/build debug makes one that has')
        text = board.run('f=/sys/kernel/debug/kmemleak; echo scan >$f; sleep 6; echo scan >$f; cat $f', 200)
        if text.strip():
            raise lab.Failure(f'board {board.number}:\n{text[:4000]}')


def test_kernel_is_untainted(pair):
    for board in pair.board.values():
        tainted = int(board.run('cat /proc/sys/kernel/tainted'))
        if tainted:
            raise lab.Failure(f'board {board.number}: taint flags {tainted:#x}')
