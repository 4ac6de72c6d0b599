# SPDX-License-Identifier: GPL-2.0
"""The pair itself: what every other test stands on."""

import lab


def test_ping(pair):
    for n in (1, 2):
        pair.board[n].run(f'ping -q -c 5 -i 0.2 -W 5 {pair.board[3 - n].ip}', 60)


def test_agent_returns_bytes_and_status(pair):
    result = pair.board[1].run('seq 20000; exit 7', 60, check=False)
    if result.status != 7 or result.output != ''.join(f'{i}\n' for i in range(1, 20001)):
        raise lab.Failure(f'status {result.status}, {len(result.output)} characters')


def test_wire_loses_what_it_is_told_to(pair):
    pair.wire.do('cut both')
    if not pair.board[1].run(f'ping -q -c 3 -i 0.2 -W 1 {pair.board[2].ip}', 60, check=False).status:
        raise lab.Failure('a ping came through a cut wire')
    pair.wire.good()
    pair.board[1].run(f'ping -q -c 3 -i 0.2 -W 5 {pair.board[2].ip}', 60)


def test_crash_is_noticed(pair):
    board = pair.board[2]
    board.forgiven = False
    board.start('echo c >/proc/sysrq-trigger')
    try:
        board.run('sleep 100', 20)
    except lab.Crash as crash:
        if 'sysrq' not in str(crash).lower():
            raise lab.Failure(f'not the crash that was made: {crash}') from crash
    else:
        raise lab.Failure('a panic went unnoticed')
    board.restart()
    board.run(f'ping -q -c 3 -i 0.2 -W 5 {pair.board[1].ip}', 60)


def test_nvm_outlives_the_board(pair):
    board = pair.board[1]
    board.run('printf persistent-bytes | dd of=/dev/pmem0 bs=4096 seek=100 conv=notrunc oflag=direct,sync 2>&1 || '
              'printf persistent-bytes | dd of=/dev/pmem0 bs=4096 seek=100 conv=notrunc,fsync', 60)
    if board.nvm()[409600:409616] != b'persistent-bytes':
        raise lab.Failure('the host does not see what the board wrote')
    nvm = board.nvm()
    nvm[8192:8204] = b'from-outside'
    board.restart()
    got = board.run('dd if=/dev/pmem0 bs=4096 skip=100 count=1 2>/dev/null | head -c 16; '
                    'dd if=/dev/pmem0 bs=4096 skip=2 count=1 2>/dev/null | head -c 12')
    if got != 'persistent-bytesfrom-outside':
        raise lab.Failure(f'after power-on the NVM has {got!r}')
