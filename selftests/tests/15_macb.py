# SPDX-License-Identifier: GPL-2.0
"""What the series mends in macb, whoever uses the port."""

import lab


def answers(board, peer, when):
    """Soon: what has piled up comes first, and an ARP request that was lost is repeated after a second."""
    lab.until(lambda: not board.run(f'ping -q -c 1 -W 2 {peer.ip}', 30, check=False).status, 30, f'ping {when}')


def received(board):
    """Frames delivered, and descriptors the driver took for frames and dropped."""
    counters = dict(line.split(': ') for line in board.run('ethtool -S eth0 | grep q0_rx').splitlines())
    return [int(counters[f'     q0_rx_{name}']) for name in ('packets', 'dropped')]


def test_a_short_ring_filled_to_the_last_descriptor(pair):
    """A burst of as many frames as the driver has handed out descriptors, all there before it looks.
    Not one more, and then the board sends first: while the other ring has free descriptors, QEMU 7.2
    goes on with the one that software owns, as it read it last, which no driver survives. It reads
    it again when the board sends. So the peer must not say anything of its own accord."""
    ring, bursts = 64, 30
    board, peer = pair.board[1], pair.board[2]
    for one, other in ((board, peer), (peer, board)):
        one.run(f'ip neigh replace {other.ip} lladdr {other.mac} nud permanent dev eth0')
    board.run(f'ethtool -G eth0 rx {ring}')
    try:
        frames, dropped = received(board)
        for burst in range(1, bursts + 1):
            sent = pair.wire.stats()['2to1']['flooded']
            with board.held():
                pair.wire.do(f'flood 1 rate=1e7 frames={ring - 1} to={board.mac} streams=0 seed={burst}')
                lab.until(lambda: pair.wire.stats()['2to1']['flooded'] == sent + ring - 1, 10, 'a burst on the wire')
            lab.until(lambda: received(board)[0] - frames >= burst * (ring - 1), 10, f'all frames of burst {burst}')
            answers(board, peer, f'after burst {burst}')
        if received(board)[1] != dropped:
            raise lab.Failure(f'{received(board)[1] - dropped} descriptors without a frame were taken for one')
    finally:
        pair.wire.good()
        for one, other in ((board, peer), (peer, board)):
            one.run(f'ip neigh del {other.ip} dev eth0', check=False)
        board.run('ethtool -G eth0 rx 512', check=False)
    answers(board, peer, 'after the ring has grown')


def test_frames_that_are_not_ip_get_no_software_fcs(pair):
    """An FCS computed by the driver shows as four bytes more on this wire. ARP
    requests are 60 bytes when the controller completes them."""
    before = pair.wire.stats()['1to2']['types'].get('0806', {'frames': 0, 'bytes': 0})
    pair.board[1].run('ip neigh flush dev eth0; ping -q -c 1 -W 5 10.9.0.2', 60)
    after = pair.wire.stats()['1to2']['types']['0806']
    frames, size = after['frames'] - before['frames'], after['bytes'] - before['bytes']
    if not frames or size > 60 * frames:
        raise lab.Failure(f'{frames} ARP frames have {size} bytes')


def test_link_down_and_up(pair):
    for _ in range(3):
        pair.board[1].run('ip link set eth0 down; ip link set eth0 up', 60)
    answers(pair.board[1], pair.board[2], 'after ifup')
