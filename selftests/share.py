# SPDX-License-Identifier: GPL-2.0
"""A directory of one board, reached by the other: by rzcfs or by NFS.

Each has the same face: serve() on the owner, mount() on the client, cold()
to forget what the client has cached, and stop(). Files lie in `home` on the
owner and are seen under `away` on the client.
"""

import contextlib

import lab

FORGET = 'sync; echo 3 >/proc/sys/vm/drop_caches'


class Rzcfs:
    name = 'rzcfs'
    home, away = '/srv', '/mnt/peer'

    def __init__(self, owner, client, options='', client_options=''):
        self.owner, self.client = owner, client
        self.options, self.client_options = options, client_options

    def serve(self, fresh=True):
        options = 'export,dev=eth0' + (',' + self.options if self.options else '')
        if fresh:
            self.owner.run('mkfs.rzcfs -q -f /dev/pmem0', 60)
        self.owner.run(f'mkdir -p {self.home}; mount -t rzcfs /dev/pmem0 {self.home} -o {options}', 60)

    def mount(self):
        options = f'-o {self.client_options}' if self.client_options else ''
        self.client.run(f'mkdir -p {self.away}; '
                        f'mount -t rzcfs {self.owner.mac}@eth0:/ {self.away} {options}', 60)

    def cold(self):
        for board in (self.client, self.owner):
            board.run(FORGET, 60)

    def unmount(self):
        self.client.run(f'umount {self.away}', 60)

    def stop(self):
        """Both sides away, and nothing may hold them."""
        for board, place in ((self.client, self.away), (self.owner, self.home)):
            board.run(f'! mountpoint -q {place} || umount {place}', 60)

    def give_up(self):
        """Both sides away, whatever state a test left them in."""
        for board, place in ((self.client, self.away), (self.owner, self.home)):
            board.run(f'for i in 1 2 3 4 5; do mountpoint -q {place} || exit 0; '
                      f'umount {place} && exit 0; sleep 1; done; umount -f {place} || umount -l {place}',
                      60, check=False)

    def stats(self, board):
        """All counters of a board: file system, transport and controller."""
        found = {}
        for text in ('cat /sys/kernel/debug/rzcfs/*/stats', 'cat /sys/kernel/debug/sans/eth0/stats',
                     'ethtool -S eth0 | grep rob_'):
            for name, value in board.counters(text).items():
                found[name] = found.get(name, 0) + value
        return found


@contextlib.contextmanager
def rzcfs(pair, owner=1, **options):
    """A fresh file system of one board, mounted on both."""
    share = Rzcfs(pair.board[owner], pair.board[3 - owner], **options)
    share.serve()
    share.mount()
    try:
        yield share
        for board in pair.board.values():
            board.check()
        pair.wire.good()
        share.stop()
    except lab.Failure as failure:
        with contextlib.suppress(lab.Failure):
            lab.say(f'{failure.__class__.__name__}; counters of the owner {share.stats(share.owner)}, '
                    f'of the client {share.stats(share.client)}')
            pair.wire.good()
            share.give_up()
        raise


class Nfs:
    """nfsd over TCP on ext4 without journal: on a RAM disk, as in the paper,
    or with DAX on the NVM."""
    home, away = '/export', '/mnt/nfs'

    def __init__(self, owner, client, version='4.2', backing='ram'):
        self.owner, self.client, self.version, self.backing = owner, client, version, backing
        self.name = f'nfs{version[0]}-{backing}'

    def serve(self):
        device, options = ('/dev/ram0', 'noatime') if self.backing == 'ram' else ('/dev/pmem0', 'noatime,dax')
        self.owner.run(f'''
            set -e
            mkdir -p {self.home} /proc/fs/nfsd /var/lib/nfs/rpc_pipefs
            mke2fs -q -F -t ext4 -b 4096 -O ^has_journal -E lazy_itable_init=0 {device}
            mount -t ext4 -o {options} {device} {self.home}
            mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
            pidof rpcbind || rpcbind -w
            exportfs -o rw,no_root_squash,no_subtree_check,fsid=0,insecure 10.9.0.0/24:{self.home}
            pidof rpc.mountd || rpc.mountd --port 20048
            rpc.nfsd -G 10 -L 10 --no-udp 4
            echo Y >/proc/fs/nfsd/v4_end_grace 2>/dev/null || true
            ''', 60)

    def mount(self):
        options = {'4.2': 'vers=4.2', '3': 'vers=3,nolock,port=2049,mountport=20048,mountproto=tcp'}[self.version]
        source = f'{self.owner.ip}:/' if self.version == '4.2' else f'{self.owner.ip}:{self.home}'
        self.client.run(f'mkdir -p {self.away}; mount.nfs {source} {self.away} -o {options},proto=tcp,sec=sys', 60)

    def cold(self):
        for board in (self.client, self.owner):
            board.run(FORGET, 60)

    def unmount(self):
        self.client.run(f'umount {self.away}', 60)

    def stop(self):
        self.client.run(f'umount {self.away}', 60, check=False)
        self.owner.run(f'rpc.nfsd 0; exportfs -ua; exportfs -f; for i in 1 2 3 4 5; do '
                       f'umount {self.home} && break; sleep 1; done', 60, check=False)


def sha256(board, place):
    """One digest over names and contents of a tree, or of a file."""
    return board.run(f'if [ -d {place} ]; then cd {place} && find . -type f -print0 | LC_ALL=C sort -z | '
                     f'xargs -0 sha256sum | sha256sum; else sha256sum <{place}; fi', 300).split()[0]


def same(*digests):
    if len(set(digests)) != 1:
        raise lab.Failure(f'SHA-256 differ: {digests}')
    return True
