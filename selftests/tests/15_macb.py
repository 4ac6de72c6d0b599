# SPDX-License-Identifier: GPL-2.0
"""What the series mends in macb, whoever uses the port."""

import time

import lab


def answers(board, peer, when):
    """Soon: what has piled up comes first, and an ARP request that was lost is repeated after a second."""
    lab.until(lambda: not board.run(f'ping -q -c 1 -W 2 {peer.ip}', 30, check=False).status, 30, f'ping {when}')


def test_reception_goes_on_after_a_flood_on_a_short_ring(pair):
    board, peer = pair.board[1], pair.board[2]
    if 'yes' in board.run('[ ! -e /sys/kernel/debug/dma-api ] || echo yes'):
        raise lab.Skip('QEMU 7.2 writes through descriptors that software owns when one of two rings '
                       'is exhausted, and DMA_API_DEBUG sees it')
    board.run('ethtool -G eth0 rx 64')
    try:
        pair.wire.do(f'flood 1 rate=20000 frames=20000 to={board.mac} streams=0')
        time.sleep(3)
        pair.wire.good()
        answers(board, peer, 'after the flood')
    finally:
        pair.wire.good()
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
