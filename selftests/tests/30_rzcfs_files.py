# SPDX-License-Identifier: GPL-2.0
"""Files of a peer, on a good cable."""

import time

import lab
import share

TREE = '/usr/share/zoneinfo/America'


def test_mount_and_unmount(pair):
    for owner in (1, 2):
        with share.rzcfs(pair, owner) as fs:
            fs.client.run(f'cd {fs.away}; echo hello >a; mkdir d; echo more >d/b; grep rzcfs /proc/mounts', 60)
            if fs.owner.run(f'cd {fs.home}; cat a d/b') != 'hello\nmore\n':
                raise lab.Failure('the owner sees other files')
            fs.unmount()
            fs.mount()
            if fs.client.run(f'cd {fs.away}; cat a d/b; stat -c %s d/b') != 'hello\nmore\n5\n':
                raise lab.Failure('other files after mounting again')


def test_mount_fails_cleanly(pair):
    client = pair.board[2]
    client.run('mkdir -p /mnt/peer')
    for source in ('02:00:00:00:00:01@eth0:/', '02:00:00:00:00:77@eth0:/', '02:00:00:00:00:01@eth9:/', 'nonsense'):
        if not client.run(f'mount -t rzcfs {source} /mnt/peer', 100, check=False).status:
            raise lab.Failure(f'{source} was mounted though nobody exports it')


def test_copy_tree_both_ways(pair):
    with share.rzcfs(pair) as fs:
        fs.client.rzio('copy', TREE, f'{fs.away}/tree', seconds=300)
        fs.cold()
        fs.client.rzio('copy', f'{fs.away}/tree', '/tmp/tree', seconds=300)
        share.same(share.sha256(fs.client, TREE), share.sha256(fs.owner, f'{fs.home}/tree'),
                   share.sha256(fs.client, '/tmp/tree'))
        if fs.client.run(f'cd {fs.away}/tree && find . | sort') != fs.client.run(f'cd {TREE} && find . | sort'):
            raise lab.Failure('listings differ')
        fs.client.run(f'rm -rf {fs.away}/tree /tmp/tree', 300)
        if fs.owner.run(f'ls -A {fs.home}'):
            raise lab.Failure('something is left of a removed tree')


def copy_big(fs, *how, size=6 << 20):
    """Size of a last part-filled block included."""
    size += 1234
    fs.client.run(f'head -c {size} /dev/urandom >/tmp/big')
    fs.client.rzio('copy', *how, '/tmp/big', f'{fs.away}/big')
    share.same(share.sha256(fs.client, '/tmp/big'), share.sha256(fs.owner, f'{fs.home}/big'))


def back_again(fs, *how):
    fs.cold()
    fs.client.rzio('copy', *how, f'{fs.away}/big', '/tmp/back')
    share.same(share.sha256(fs.client, '/tmp/big'), share.sha256(fs.client, '/tmp/back'))
    fs.client.run('rm /tmp/back')


def test_write_and_read(pair):
    with share.rzcfs(pair) as fs:
        copy_big(fs)
        back_again(fs)
        back_again(fs, '--block', 1000)


def test_mmap_write_and_read(pair):
    with share.rzcfs(pair) as fs:
        copy_big(fs, '--map-target')
        back_again(fs, '--map-source')


def test_nothing_is_copied_by_the_cpu(pair):
    size = 4 << 20
    with share.rzcfs(pair) as fs:
        fs.client.run(f'head -c {size} /dev/urandom >/tmp/big')
        before = fs.stats(fs.owner), fs.stats(fs.client)
        fs.client.rzio('copy', '/tmp/big', f'{fs.away}/big')
        fs.cold()
        fs.client.rzio('copy', '--map-source', f'{fs.away}/big', '/tmp/back')
        after = fs.stats(fs.owner), fs.stats(fs.client)
        share.same(share.sha256(fs.client, '/tmp/big'), share.sha256(fs.owner, f'{fs.home}/big'),
                   share.sha256(fs.client, '/tmp/back'))
        owner, client = ({n: a[n] - b.get(n, 0) for n in a} for b, a in zip(before, after))
        wrong = [f'owner {n}: {owner.get(n)}' for n in
                 ('srv_write_copied_bytes', 'rx_copied_bytes', 'tx_copied_bytes', 'prestore_used', 'fallback_blocks')
                 if owner.get(n, 0)]
        wrong += [f'client {n}: {client.get(n)}' for n in
                  ('cl_landing_copied_bytes', 'rx_copied_bytes', 'tx_copied_bytes', 'fallback_blocks') if client.get(n, 0)]
        if owner.get('srv_write_payload_bytes', 0) < size or client.get('cl_mmap_landed_bytes', 0) < size:
            wrong.append(f'payload went another way: {owner} {client}')
        if wrong:
            raise lab.Failure('; '.join(wrong))


def test_random_accesses(pair):
    with share.rzcfs(pair) as fs:
        fs.client.rzio('storm', '--operations', 800, '--size', 2 << 20, '--seed', 5, f'{fs.away}/storm', seconds=300)
        fs.client.run('rzio storm --operations 800 --size 2097152 --seed 5 --expect /tmp/expect')
        share.same(share.sha256(fs.client, '/tmp/expect'), share.sha256(fs.owner, f'{fs.home}/storm'))


def test_rename_unlink_readdir(pair):
    with share.rzcfs(pair) as fs:
        fs.client.run(f'''set -e; cd {fs.away}
            mkdir -p a/b/c; for i in $(seq 200); do echo $i >a/b/file$i; done
            [ "$(ls a/b | wc -l)" = 201 ]
            mv a/b/file7 a/b/c/moved; [ "$(cat a/b/c/moved)" = 7 ]; [ ! -e a/b/file7 ]
            echo old >a/target; mv a/b/file8 a/target; [ "$(cat a/target)" = 8 ]
            mv a/b a/renamed; [ -d a/renamed/c ]
            ! rmdir a 2>/dev/null; ! mkdir a 2>/dev/null; ! cat a/none 2>/dev/null
            exec 5<a/target; rm a/target; [ "$(cat <&5)" = 8 ]; exec 5<&-
            chmod 640 a/renamed/file9; [ "$(stat -c %a a/renamed/file9)" = 640 ]
            touch -d @1000000000 a/renamed/file9; [ "$(stat -c %Y a/renamed/file9)" = 1000000000 ]
            rm -r a''', 200)


def test_owner_sees_and_is_seen(pair):
    """Close-to-open, both ways."""
    with share.rzcfs(pair) as fs:
        for i in range(5):
            fs.client.run(f'echo from client {i} >{fs.away}/f; sync -f {fs.away}/f')
            if fs.owner.run(f'cat {fs.home}/f') != f'from client {i}\n':
                raise lab.Failure('the owner reads something old')
            fs.owner.run(f'echo from the owner, longer {i} >{fs.home}/f')
            if fs.client.run(f'sleep 1.5; cat {fs.away}/f') != f'from the owner, longer {i}\n':
                raise lab.Failure('the client reads something old')


def test_sparse_and_truncate(pair):
    with share.rzcfs(pair) as fs:
        fs.client.run(f'''set -e; cd {fs.away}
            truncate -s 1G sparse; echo end >>sparse; [ "$(stat -c %s sparse)" = 1073741828 ]
            [ "$(head -c 65536 sparse | tr -d '\\0' | wc -c)" = 0 ]
            printf middle | dd of=sparse bs=1 seek=500000000 conv=notrunc 2>/dev/null
            [ "$(dd if=sparse bs=1 skip=500000000 count=6 2>/dev/null)" = middle ]
            [ "$(stat -c %b sparse)" -lt 1000 ]
            head -c 10000 /dev/urandom >t; truncate -s 5000 t; truncate -s 10000 t
            [ "$(tail -c 5000 t | tr -d '\\0' | wc -c)" = 0 ]''', 100)


def test_append_from_both_sides(pair):
    with share.rzcfs(pair) as fs:
        jobs = [board.start(f'for i in $(seq 50); do echo {word} $i >>{place}/log; done')
                for board, place, word in ((fs.client, fs.away, 'client'), (fs.owner, fs.home, 'owner'))]
        for job in jobs:
            job.wait(100)
        lines = sorted(fs.owner.run(f'cat {fs.home}/log').splitlines())
        if lines != sorted(f'{word} {i}' for word in ('client', 'owner') for i in range(1, 51)):
            raise lab.Failure(f'{len(lines)} lines of 100, or torn ones')


def test_no_space_is_an_error_and_loses_nothing(pair):
    with share.rzcfs(pair) as fs:
        fs.client.run(f'head -c 1000000 /dev/urandom >{fs.away}/kept; cp {fs.away}/kept /tmp/kept', 60)
        free = int(fs.owner.run(f'stat -f -c "%f" {fs.home}')) * 4096
        fs.owner.run(f'head -c {free - (3 << 20)} /dev/zero >{fs.home}/filler', 300)
        result = fs.client.run(f'head -c 8000000 /dev/zero >{fs.away}/too-much', 200, check=False)
        if not result.status or 'No space' not in result.output:
            raise lab.Failure(f'a full medium gives {result}')
        share.same(share.sha256(fs.client, '/tmp/kept'), share.sha256(fs.owner, f'{fs.home}/kept'))
        fs.client.run(f'rm {fs.away}/too-much {fs.away}/filler; head -c 5000000 /dev/urandom >/tmp/big; '
                      f'cp /tmp/big {fs.away}/fits', 200)
        share.same(share.sha256(fs.client, '/tmp/big'), share.sha256(fs.owner, f'{fs.home}/fits'))


def test_sqlite_in_place(pair):
    with share.rzcfs(pair) as fs:
        fs.client.run(f'''set -e; cd {fs.away}
            sqlite3 db "create table t(a integer primary key, b text);
                with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000)
                insert into t select i, hex(randomblob(20)) from n;"
            for i in 1 2 3 4 5; do sqlite3 db "update t set b = 'x' || b where a % 7 = $i; delete from t where a % 101 = $i;"; done
            [ "$(sqlite3 db 'pragma integrity_check')" = ok ]''', 300)
        there = fs.client.run(f'sqlite3 {fs.away}/db "select count(*), sum(length(b)) from t"', 60)
        if fs.owner.run(f'sqlite3 {fs.home}/db "select count(*), sum(length(b)) from t; pragma integrity_check"', 60) != \
                there + 'ok\n':
            raise lab.Failure('the owner finds another database')


def test_files_survive_the_owner(pair):
    """What was acknowledged is there after the owner's plug was pulled."""
    with share.rzcfs(pair) as fs:
        copy_big(fs)
        fs.client.run(f'umount {fs.away}', 60)
        fs.owner.restart()
        fs.serve(fresh=False)
        fs.mount()
        share.same(share.sha256(fs.client, '/tmp/big'), share.sha256(fs.owner, f'{fs.home}/big'))
        back_again(fs)


def test_small_writes_are_gathered(pair):
    """They need few requests; only what was written is sent; a close brings errors."""
    with share.rzcfs(pair) as fs:
        fs.client.run(f'head -c 8192 /dev/zero >{fs.away}/shared')
        before = fs.stats(fs.client)['cl_calls']
        # dd writes piece by piece and closes once, at the end
        job = fs.client.start('( for i in $(seq 100 299); do printf %08d $i; done; sleep 4 ) | '
                              f'dd of={fs.away}/shared bs=8 iflag=fullblock conv=notrunc status=none')
        time.sleep(2)
        fs.owner.run(f'printf OWNER | dd of={fs.home}/shared bs=1 seek=3000 conv=notrunc status=none')
        if job.wait(60).status:
            raise lab.Failure('the close failed')
        calls = fs.stats(fs.client)['cl_calls'] - before
        if calls > 40:
            raise lab.Failure(f'{calls} requests for 200 writes')
        fs.owner.run(f'cd {fs.home}; [ "$(head -c 1600 shared)" = "$(printf %08d $(seq 100 299))" ] && '
                     '[ "$(tail -c +3001 shared | head -c 5)" = OWNER ] && [ $(stat -c %s shared) = 8192 ]')
        fs.client.run(f'cd {fs.away}; for i in 1 2 3 4 5; do printf abc; done | '
                      'dd of=grown bs=3 iflag=fullblock status=none; [ $(stat -c %s grown) = 15 ]')
        fs.owner.run(f'[ "$(cat {fs.home}/grown)" = abcabcabcabcabc ]')
        # a hole, and the bytes around it
        fs.client.run(f"cd {fs.away}; exec 3<>holes; printf one >&3; "
                      "printf two | dd of=holes bs=1 seek=10000 conv=notrunc status=none; exec 3>&-; "
                      "[ $(stat -c %s holes) = 10003 ]")
        fs.owner.run(f'cd {fs.home}; [ "$(tr -d "\\0" <holes)" = onetwo ] && [ "$(tail -c 3 holes)" = two ]')
