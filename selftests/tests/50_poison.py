# SPDX-License-Identifier: GPL-2.0
"""No byte beside the one meant: the NVM is full of a pattern and of other files,
a peer writes and reads at random through a flood of foreign frames, and then the
host compares the whole memory with what it was.

Meant to change are the file, the blocks that were free (data lands in these, and
they are the guards), the journal, the bitmaps, and the inodes of the file and of
its directory. The bitmaps are checked by fsck.rzcfs, with all other metadata."""

import hashlib
import json
import struct
import subprocess
import time

import lab
import share

BLOCK = 4096
VICTIMS = 2200          # files of 64 KiB
SIZE = 3 << 20          # of the file that is written at random
OPERATIONS = 3000
# A stream lasts longer on a kernel with checks, and must have a chance to pass.
FLOOD = f'flood {{0}} rate={300 / lab.SLOWER ** 2:.0f} frames=1000000 to={{1}} seed={{2}}'


def blocks_of(board, files):
    return {block for _, physical, length in board.rzio('extents', *files)
            for block in range(physical // BLOCK, (physical + length + BLOCK - 1) // BLOCK)}


def all_blocks_of(board, directory):
    names = board.run(f'ls {directory}').split()
    found = set()
    for i in range(0, len(names), 200):
        found |= blocks_of(board, [f'{directory}/{name}' for name in names[i:i + 200]])
    return found


def regions(nvm):
    """Of the medium, by name: (first block, number of blocks). See struct rzcfs_super_block."""
    names = ('journal', 'prestore', 'ibitmap', 'itable', 'bbitmap', 'pool', 'data')
    count, _, *numbers = struct.unpack_from('<16Q', nvm, 144)
    found = dict(zip(names, zip(numbers[::2], numbers[1::2])))
    return found | {'super': (0, 1), 'copy': (count - 1, 1)}


def differing(before, after, start, end, step):
    """Where pieces of `step` bytes differ, between two addresses."""
    return [at for at in range(start, end, step) if before[at:at + step] != after[at:at + step]]


def fixed_metadata(before, after):
    """Superblocks, pre-store records, pool, inodes: at most two inodes may have changed."""
    place = {name: (start * BLOCK, (start + n) * BLOCK) for name, (start, n) in regions(before).items()}
    wrong = [(name, at) for name in ('copy', 'prestore', 'pool') for at in differing(before, after, *place[name], 64)]
    # the state words lie in the middle of the first block
    wrong += [('super', at) for at in differing(before, after, 0, BLOCK, 64) if not 2048 <= at < 2048 + 128]
    inodes = differing(before, after, *place['itable'], 256)
    if len(inodes) > 2:
        wrong += [('itable', at) for at in inodes]
    return wrong


def free_blocks(nvm):
    start, count = regions(nvm)['data']
    bitmap = regions(nvm)['bbitmap'][0] * BLOCK
    return {b for b in range(start, start + count) if not nvm[bitmap + b // 8] >> b % 8 & 1}


def root_block(nvm):
    """The only block of the root directory."""
    pointer, = struct.unpack_from('<Q', nvm, regions(nvm)['itable'][0] * BLOCK + 256 + 48)
    if pointer >> 56:
        raise lab.Failure('the root directory has more than one block')
    return pointer


def expected(seed):
    out = lab.BUILD / 'expected'
    subprocess.run([lab.BUILD / 'host/rzio', 'storm', '--seed', str(seed), '--operations', str(OPERATIONS),
                    '--size', str(SIZE), '--expect', out], check=True, stdout=subprocess.DEVNULL)
    return out.read_bytes()


def poisoned(pair):
    nvm = pair.board[1].nvm()
    pattern = bytes(range(1, 252)) * (len(nvm) // 251 + 1)
    nvm[:] = pattern[:len(nvm)]
    return nvm


def test_every_other_byte_is_unchanged(pair):
    nvm = poisoned(pair)
    with share.rzcfs(pair) as fs:
        # Every third victim goes, so that the writer's blocks and guards lie
        # between blocks that belong to somebody.
        fs.owner.rzio('fill', f'{fs.home}/victims', '--count', VICTIMS, seconds=600)
        fs.owner.run(f'cd {fs.home}/victims; ls | awk "NR % 3 == 0" | xargs rm; sync', 120)
        victims = all_blocks_of(fs.owner, f'{fs.home}/victims')     # which sets the time of access
        before = bytes(nvm)
        # files, directories and maps: whatever is in use
        start, count = regions(before)['data']
        kept = set(range(start, start + count)) - free_blocks(before)
        if len(victims) < VICTIMS * 10 or not victims <= kept:
            raise lab.Failure(f'only {len(victims & kept)} blocks of victims')
        for n in (1, 2):
            pair.wire.do(FLOOD.format(n, pair.board[n].mac, n))
        result = fs.client.rzio('storm', '--seed', 77, '--operations', OPERATIONS, '--size', SIZE,
                                f'{fs.away}/target', seconds=850)
        pair.wire.good()
        time.sleep(1)
        flooded = pair.wire.stats()
        fs.owner.run('sync')
        target = fs.owner.rzio('extents', f'{fs.home}/target')
        after = bytes(nvm)

        want = expected(77)
        got = bytearray(SIZE)
        for logical, physical, length in target:
            end = min(logical + length, SIZE)
            if end > logical:
                got[logical:end] = after[physical:physical + end - logical]
        if got != want:
            at = next(i for i in range(SIZE) if got[i] != want[i])
            raise lab.Failure(f'the file is wrong from byte {at} on')
        kept.discard(root_block(before))        # the new name is there
        wrong = fixed_metadata(before, after)
        if wrong:
            raise lab.Failure(f'metadata changed: {[(name, hex(at)) for name, at in wrong[:20]]}')
        changed = [b for b in sorted(kept) if before[b * BLOCK:(b + 1) * BLOCK] != after[b * BLOCK:(b + 1) * BLOCK]]
        if changed:
            b = changed[0]
            at = next(i for i in range(b * BLOCK, (b + 1) * BLOCK) if before[i] != after[i])
            raise lab.Failure(f'{len(changed)} blocks of other files changed, first at {at:#x} (block offset '
                              f'{at % BLOCK}): {before[at:at + 32].hex()} became {after[at:at + 32].hex()}')
        if not sum(flooded[way]['flooded_to_streams'] for way in flooded):
            raise lab.Failure('the flood never hit a stream address')
        lab.say(f'{json.dumps(result)}; {len(kept)} other blocks unchanged; flood: '
                f'{sum(flooded[way]["flooded"] for way in flooded)} frames, '
                f'{sum(flooded[way]["flooded_to_streams"] for way in flooded)} to stream addresses')
        fs.unmount()
        fs.owner.run(f'umount {fs.home}; fsck.rzcfs -n -f /dev/pmem0', 120)
        fs.serve(fresh=False)
        fs.mount()
        digest = share.sha256(fs.owner, f'{fs.home}/target')
        (lab.BUILD / 'expected').unlink()
        share.same(digest, hashlib.sha256(want).hexdigest())
