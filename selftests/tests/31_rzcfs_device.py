# SPDX-License-Identifier: GPL-2.0
"""The device below the file system."""

import lab

FRESH = 'mkfs.rzcfs -q -f /dev/pmem0; mkdir -p /srv; mount -t rzcfs /dev/pmem0 /srv'


def test_what_was_read_from_the_device_is_not_kept(pair):
    """Somebody keeps the device open, and has read it, while files are written above it."""
    board = pair.board[1]
    sums = board.run(f'exec 9</dev/pmem0; {FRESH}; head -c 4M <&9 >/dev/null; '
                     'for i in $(seq 300); do head -c 9000 /dev/urandom >/srv/$i; done; umount /srv; '
                     'for how in fullblock direct; do dd if=/dev/pmem0 bs=1M count=4 iflag=$how 2>/dev/null | sha256sum; done; '
                     'fsck.rzcfs -f -n /dev/pmem0', 120).split('\n')
    if sums[0] != sums[1]:
        raise lab.Failure('the device shows what it was before')


def test_driver_unbound_while_mounted(pair):
    """The driver waits; what is there can be read; unmounting ends it."""
    board = pair.board[1]
    driver = '/sys/bus/nd/drivers/nd_pmem'
    name = board.run(f'basename $(ls -d {driver}/namespace* {driver}/pfn* 2>/dev/null | head -n 1)').strip()
    board.run(f'{FRESH}; mkdir /srv/d; for i in $(seq 100); do echo $i >/srv/d/$i; done', 60)
    unbind = board.start(f'echo {name} >{driver}/unbind')
    try:
        board.run('for i in $(seq 50); do dmesg | grep -q "waits to be unmounted" && exit 0; sleep 0.2; done; exit 1', 60)
        board.run('echo 2 >/proc/sys/vm/drop_caches; [ $(cat /srv/d/77) = 77 ] && [ $(ls /srv/d | wc -l) = 100 ]', 60)
        if not board.run('echo more >/srv/d/more', 60, check=False).status:
            raise lab.Failure('a file was made on a device that goes')
        if not unbind.running():
            raise lab.Failure('the driver has gone though its memory is mounted')
    finally:
        board.run('umount /srv', 60)
        unbind.wait(60)
        board.run(f'echo {name} >{driver}/bind; ls /dev/pmem0', 60)
