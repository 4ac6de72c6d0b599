# SPDX-License-Identifier: GPL-2.0
"""No byte beside the one meant: the NVM is full of a pattern and of other files,
a peer writes and reads at random through a flood of foreign frames, and then the
host compares the whole memory with what it was."""

import hashlib
import json
import subprocess
import time

import lab
import share

BLOCK = 4096
VICTIMS = 2200          # files of 64 KiB
SIZE = 3 << 20          # of the file that is written at random
OPERATIONS = 3000
FLOOD = 'flood {0} rate=300 frames=1000000 to={1} seed={2}'


def blocks_of(board, files):
    return {block for _, physical, length in board.rzio('extents', *files)
            for block in range(physical // BLOCK, (physical + length + BLOCK - 1) // BLOCK)}


def all_blocks_of(board, directory):
    names = board.run(f'ls {directory}').split()
    found = set()
    for i in range(0, len(names), 200):
        found |= blocks_of(board, [f'{directory}/{name}' for name in names[i:i + 200]])
    return found


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
        before = bytes(nvm)
        kept = all_blocks_of(fs.owner, f'{fs.home}/victims')
        if len(kept) < VICTIMS * 10:
            raise lab.Failure(f'only {len(kept)} blocks of victims')
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
        fs.owner.run(f'umount {fs.home}', 60)
        fs.serve(fresh=False)
        fs.mount()
        digest = share.sha256(fs.owner, f'{fs.home}/target')
        (lab.BUILD / 'expected').unlink()
        share.same(digest, hashlib.sha256(want).hexdigest())
