# SPDX-License-Identifier: GPL-2.0
"""NFS between the boards: what rzcfs is compared with must be sound itself."""

import share


def round_trip(pair, version, backing):
    owner, client = pair.board[1], pair.board[2]
    nfs = share.Nfs(owner, client, version, backing)
    nfs.serve()
    try:
        nfs.mount()
        client.run('head -c 4194304 /dev/urandom >/tmp/big')
        client.rzio('copy', '/tmp/big', f'{nfs.away}/big')
        client.rzio('copy', '/usr/share/zoneinfo/Asia', f'{nfs.away}/tree')
        nfs.cold()
        client.rzio('copy', '--map-source', f'{nfs.away}/big', '/tmp/back')
        share.same(*(share.sha256(*at) for at in ((client, '/tmp/big'), (owner, f'{nfs.home}/big'),
                                                  (client, '/tmp/back'))))
        share.same(share.sha256(client, '/usr/share/zoneinfo/Asia'), share.sha256(owner, f'{nfs.home}/tree'))
    finally:
        nfs.stop()


def test_v42_ramdisk(pair):
    round_trip(pair, '4.2', 'ram')


def test_v3_ramdisk(pair):
    round_trip(pair, '3', 'ram')


def test_v42_pmem_dax(pair):
    round_trip(pair, '4.2', 'pmem')
