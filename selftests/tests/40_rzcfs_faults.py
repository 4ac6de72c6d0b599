# SPDX-License-Identifier: GPL-2.0
"""Bad cables, killed processes, vanished peers, restarted controllers: an
operation ends in success or an error, soon, and no byte is wrong."""

import time

import lab
import share

WRONG = 66
COPY = ('same() {{ cmp "$@"; case $? in 0) ;; 1) exit %d ;; *) exit 1 ;; esac; }}; '
        'while cp /tmp/big {0}/moving && cp {0}/big /tmp/back; do '
        'same /tmp/big /tmp/back; same /tmp/big {0}/moving; done' % WRONG)


def start_traffic(fs):
    """Writes and reads of 4 MiB without end, on the client; they end at the first error."""
    fs.client.run('head -c 4194304 /dev/urandom >/tmp/big')
    fs.client.rzio('copy', '/tmp/big', f'{fs.away}/big')
    job = fs.client.start(COPY.format(fs.away))
    time.sleep(2)
    return job


def stop_traffic(fs, job, errors=False):
    """Kills it. What it has read was right, and nothing hangs; it had no error, unless errors are allowed."""
    ended = not job.running()
    job.kill()
    status = job.wait(60).status
    if status == WRONG or (ended and not errors):
        raise lab.Failure(f'wrong bytes, or an error: status {status}: {job.output.decode(errors="replace")}')
    lab.until(lambda: not fs.client.run('pgrep -x "cp|cmp"; [ $? -lt 2 ]').strip(), 30, 'copying processes end')


def whole(fs):
    """The file system still works and what it holds is right."""
    share.same(share.sha256(fs.client, '/tmp/big'), share.sha256(fs.owner, f'{fs.home}/big'))
    fs.client.rzio('copy', '/tmp/big', f'{fs.away}/after', seconds=120)
    fs.cold()
    fs.client.rzio('copy', '--map-source', f'{fs.away}/after', '/tmp/back', seconds=120)
    share.same(share.sha256(fs.client, '/tmp/big'), share.sha256(fs.owner, f'{fs.home}/after'),
               share.sha256(fs.client, '/tmp/back'))


def lossy(pair, command, *kinds):
    """Copies both ways over a bad cable, which must have done of each kind to each direction."""
    before = pair.wire.stats()
    with share.rzcfs(pair) as fs:
        fs.client.run('head -c 4194304 /dev/urandom >/tmp/big')
        pair.wire.do(command)
        fs.client.rzio('copy', '/tmp/big', f'{fs.away}/big', seconds=300)
        fs.client.rzio('copy', '--map-target', '/tmp/big', f'{fs.away}/mapped', seconds=300)
        fs.client.rzio('copy', '/usr/share/zoneinfo/Europe', f'{fs.away}/tree', seconds=300)
        fs.cold()
        fs.client.rzio('copy', '--map-source', f'{fs.away}/big', '/tmp/back', seconds=300)
        fs.client.rzio('copy', f'{fs.away}/tree', '/tmp/tree', seconds=300)
        done = pair.wire.stats()
        pair.wire.good()
        share.same(*(share.sha256(*at) for at in ((fs.client, '/tmp/big'), (fs.owner, f'{fs.home}/big'),
                                                  (fs.owner, f'{fs.home}/mapped'), (fs.client, '/tmp/back'))))
        share.same(*(share.sha256(*at) for at in ((fs.client, '/usr/share/zoneinfo/Europe'),
                                                  (fs.owner, f'{fs.home}/tree'), (fs.client, '/tmp/tree'))))
        fs.client.run('rm -rf /tmp/tree /tmp/back')
    for way in ('1to2', '2to1'):
        for kind in kinds:
            if done[way][kind] <= before[way][kind]:
                raise lab.Failure(f'no frame was {kind}, {way}')


def test_one_frame_in_a_thousand_lost(pair):
    lossy(pair, 'set both drop=0.001 seed=11', 'dropped')


def test_one_frame_in_a_hundred_lost(pair):
    lossy(pair, 'set both drop=0.01 seed=12', 'dropped')


def test_duplicated_and_reordered(pair):
    lossy(pair, 'set both dup=0.003 reorder=0.003 seed=13', 'duplicated', 'reordered')


def test_writer_and_reader_killed(pair):
    with share.rzcfs(pair) as fs:
        for _ in range(5):
            job = start_traffic(fs)
            time.sleep(0.5)
            stop_traffic(fs, job)
        whole(fs)


def test_ring_resized_in_mid_stream(pair):
    with share.rzcfs(pair) as fs:
        for board in (fs.owner, fs.client):
            job = start_traffic(fs)
            for ring in (1024, 256, 512):
                board.run(f'ethtool -G eth0 rx {ring}', 60)
                time.sleep(1)
            stop_traffic(fs, job)
            whole(fs)


def test_port_down_and_up_in_mid_stream(pair):
    with share.rzcfs(pair) as fs:
        for board in (fs.owner, fs.client):
            job = start_traffic(fs)
            for _ in range(2):
                board.run('ip link set eth0 down; sleep 1; ip link set eth0 up', 60)
                time.sleep(2)
            stop_traffic(fs, job)
            whole(fs)


def test_cable_cut_and_mended(pair):
    with share.rzcfs(pair) as fs:
        job = start_traffic(fs)
        pair.wire.do('cut both')
        time.sleep(3)
        pair.wire.good()
        stop_traffic(fs, job)
        whole(fs)


def test_owner_dies_in_mid_stream(pair):
    with share.rzcfs(pair) as fs:
        job = start_traffic(fs)
        fs.owner.power_off()
        time.sleep(1)
        stop_traffic(fs, job, errors=True)
        fs.client.run(f'timeout -s KILL 60 cat {fs.away}/big >/dev/null', 90, check=False)
        fs.client.run(f'umount {fs.away} || umount -f {fs.away} || umount -l {fs.away}', 120)
        fs.owner.restart()
        fs.serve(fresh=False)
        fs.mount()
        whole(fs)


def test_client_dies_in_mid_stream(pair):
    with share.rzcfs(pair) as fs:
        start_traffic(fs)
        before = share.sha256(fs.owner, f'{fs.home}/big')
        fs.client.power_off()
        fs.owner.run(f'sleep 5; ls {fs.home}; echo works >{fs.home}/local; cat {fs.home}/local', 60)
        share.same(before, share.sha256(fs.owner, f'{fs.home}/big'))
        fs.client.restart()
        fs.mount()
        fs.client.run(f'cp {fs.away}/big /tmp/big', 60)
        share.same(before, share.sha256(fs.client, '/tmp/big'))
        whole(fs)


def test_unmount_by_force_without_a_peer(pair):
    with share.rzcfs(pair) as fs:
        job = start_traffic(fs)
        pair.wire.do('cut both')
        time.sleep(1)
        fs.client.run(f'umount -f -l {fs.away}', 120)
        stop_traffic(fs, job, errors=True)
        pair.wire.good()
        fs.mount()
        whole(fs)
