# SPDX-License-Identifier: GPL-2.0
"""Random system calls give the same on rzcfs as on ext4: results, errors, contents, times."""

import contextlib
import os

import lab
import share

STEPS = int(os.environ.get('RZCFS_STEPS', '4000'))
SEED = int(os.environ.get('RZCFS_SEED', '1'))
MODEL = '/tmp/model'
# With relatime it depends on the ticks of the clock which call changes the atime.
ATIME = 'strictatime'


@contextlib.contextmanager
def ext4(board):
    board.run(f'mke2fs -q -F -t ext4 -b 4096 /dev/ram0; mkdir -p {MODEL}; mount -t ext4 -o {ATIME} /dev/ram0 {MODEL}; '
              f'rmdir {MODEL}/lost+found', 60)
    yield MODEL
    board.run(f'umount {MODEL}', 60)


def twin(board, *arguments):
    result = board.run(f'twin {" ".join(map(str, arguments))}', 60 + STEPS / 10, check=False)
    if result.status:
        raise lab.Failure(f'exit status {result.status}: {result.output}')
    lab.say(result.output.replace('\n', '; '))


def test_the_own_tree(pair):
    with share.rzcfs(pair, options=ATIME) as fs, ext4(fs.owner) as model:
        twin(fs.owner, model, fs.home, 'run', '--steps', STEPS, '--seed', SEED)
        fs.stop()
        fs.owner.run('fsck.rzcfs -n -f /dev/pmem0', 60)
        fs.serve(fresh=False)
        fs.mount()
        twin(fs.owner, model, fs.home, 'compare')


def test_the_tree_of_a_peer(pair):
    with share.rzcfs(pair) as fs, ext4(fs.client) as model:
        twin(fs.client, '--remote', model, fs.away, 'run', '--steps', STEPS, '--seed', SEED + 1)
        fs.unmount()
        fs.mount()
        fs.cold()
        twin(fs.client, '--remote', model, fs.away, 'compare')
