#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Two boards exchange real files by rzcfs, then by NFS; called by scripts/demo.

Board 1 owns the files, board 2 copies them there and back. Every phase is timed
on board 2, which alone waits for it; after every phase the digests are compared.
"""

import argparse
import collections
import json
import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import lab      # noqa: E402
import share    # noqa: E402

BLOCK = 4096
DATA_TYPE = '88b5'
BIG = '/demo/big'
PUMP = 4_000_000        # bytes per second of the busy IP connection
ROUNDS = 3              # of all shares, one after the other; the first is the longest
DATABASE = '/demo/places.db'

PHASES = {      # name: what the table calls it
    'write': 'one big file, write(2)',
    'mmap_write': 'one big file, stores to mmap',
    'posix_read': 'one big file, read(2)',
    'mmap_read': 'one big file, mmap',
    'tree_write': 'time zones, write(2)',
    'tree_posix_read': 'time zones, read(2)',
    'tree_mmap_read': 'time zones, mmap',
    'sqlite': 'SQLite in place on the peer',
    'busy_write': 'big file, write(2), IP busy',
    'busy_read': 'big file, read(2), IP busy',
}

SQL_MAKE = '''
create table place(id integer primary key, name text, east real, north real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)
insert into place select i, 'place ' || (i * 7919 % 20011), i * 0.001, 90 - i * 0.002 from n;
create index by_name on place(name);
'''
SQL_WORK = '''
select count(*), sum(id), max(north) from place;
select name, east from place where name between 'place 100' and 'place 101' order by name limit 20;
update place set north = -north where id % 400 = 0;
delete from place where id % 977 = 0;
insert into place select id + 100000, name || ' twin', east, north from place where id % 500 = 0;
select count(*), sum(id), round(sum(north), 3) from place;
pragma integrity_check;
'''


class Demo:
    def __init__(self, pair, tree):
        self.tree = tree
        self.pair, self.owner, self.client = pair, pair.board[1], pair.board[2]
        self.sha256_match = True
        self.mismatches = []

    def prepare(self):
        sql = SQL_MAKE.replace('\n', ' ')
        self.client.run(f'mkdir -p /demo; cp /demo/Image {BIG}; truncate -s %{BLOCK} {BIG}; '
                        f'sqlite3 {DATABASE} "{sql}"', 300)
        self.digests = {what: share.sha256(self.client, what) for what in (BIG, self.tree, DATABASE)}
        self.client.run('mkdir -p /tmp/back')
        self.work = SQL_WORK.replace('\n', ' ')
        self.client.run(f'cp {DATABASE} /tmp/local.db')
        self.answer = self.client.run(f'sqlite3 /tmp/local.db "{self.work}"', 120)
        self.answer_digest = share.sha256(self.client, '/tmp/local.db')

    def expect(self, phase, board, place, digest):
        got = share.sha256(board, place)
        if got != digest:
            self.sha256_match = False
            self.mismatches.append(f'{phase}: {place} on board {board.number}')
            lab.say(f'{phase}: {place} on board {board.number} is not what was sent')

    def counters(self, peers):
        """Everything counted so far: by the boards and by the cable."""
        found = {}
        if isinstance(peers, share.Rzcfs):
            for side, board in (('owner', self.owner), ('client', self.client)):
                found.update({f'{side}.{n}': v for n, v in peers.stats(board).items()})
        types = [self.pair.wire.stats()[way]['types'].values() for way in ('1to2', '2to1')]
        found['wire.frames'] = sum(t['frames'] for way in types for t in way)
        data = [self.pair.wire.stats()[way]['types'].get(DATA_TYPE, {}) for way in ('1to2', '2to1')]
        found['wire.data'] = sum(d.get('frames', 0) for d in data)
        found['wire.nops'] = sum(d.get('shortest', 0) for d in data)
        return found

    def phase(self, peers, name, work):
        """Runs work(), which gives bytes and seconds, and adds what was counted meanwhile."""
        peers.cold()
        before = self.counters(peers)
        result = work()
        after = self.counters(peers)
        result['counters'] = {n: v - before.get(n, 0) for n, v in after.items() if v != before.get(n, 0)}
        result['mb_per_s'] = round(result['bytes'] / 1e6 / result['seconds'], 3)
        lab.say(f'{peers.name:9} {PHASES.get(name, name):30} {result["seconds"]:8.2f} s '
                f'{result["mb_per_s"]:8.2f} MB/s')
        return result

    def copy(self, *words):
        return self.client.rzio('copy', *words, seconds=600)

    def run(self, peers, everything):
        """Each phase once; the trees, which take long, only if this is to be everything."""
        client, owner, home, away = self.client, self.owner, peers.home, peers.away
        result = {}
        peers.serve()
        peers.mount()
        # the emulator translates what has not run yet, and nfsd waits for clients it had before
        self.copy(BIG, f'{away}/big')
        client.run(f'rm {away}/big')

        def do(name, work, *checks):
            result[name] = self.phase(peers, name, work)
            for board, place, digest in checks:
                self.expect(f'{peers.name} {name}', board, place, digest)

        def anew(name, work, check):
            check[0].run(f'rm -f {check[1]}')
            do(name, work, check)

        big, tree = self.digests[BIG], self.digests[self.tree]
        anew('write', lambda: self.copy(BIG, f'{away}/big'), (owner, f'{home}/big', big))
        anew('mmap_write', lambda: self.copy('--map-target', BIG, f'{away}/mapped'), (owner, f'{home}/mapped', big))
        anew('posix_read', lambda: self.copy(f'{away}/big', '/tmp/back/big'), (client, '/tmp/back/big', big))
        anew('mmap_read', lambda: self.copy('--map-source', f'{away}/mapped', '/tmp/back/big'),
             (client, '/tmp/back/big', big))
        self.latency(peers, result)
        self.busy(peers, anew, big)
        if everything:
            do('tree_write', lambda: self.copy(self.tree, f'{away}/tz'), (owner, f'{home}/tz', tree))
            for how, name in ((), 'tree_posix_read'), (('--map-source',), 'tree_mmap_read'):
                do(name, lambda how=how: self.copy(*how, f'{away}/tz', '/tmp/back/tz'), (client, '/tmp/back/tz', tree))
                client.run('rm -rf /tmp/back/tz')
        self.sqlite(peers, result, do)
        peers.stop()
        client.run('rm -rf /tmp/back/*')
        return result

    def latency(self, peers, result):
        """Of one cold 4 KiB access; the better of buffered and O_DIRECT."""
        result['latency_4k_us'] = {}
        for kind, word in (('read', ()), ('write', ('--write',))):
            peers.cold()
            times = [self.client.rzio('latency', '--count', 300, *word, *way, f'{peers.away}/mapped', seconds=300)
                     for way in ((), ('--direct',))]
            result['latency_4k_us'][kind] = round(min(t['median_us'] for t in times), 1)
        lab.say(f'{peers.name:9} 4 KiB latency, median: read {result["latency_4k_us"]["read"]} us, '
                f'write {result["latency_4k_us"]["write"]} us')

    def sqlite(self, peers, result, do):
        place = f'{peers.away}/places.db'
        self.copy(DATABASE, place)
        self.expect(f'{peers.name} sqlite', self.owner, f'{peers.home}/places.db', self.digests[DATABASE])

        def work():
            text = self.client.run(f'date +%s.%N; sqlite3 {place} "{self.work}"; date +%s.%N', 600)
            start, *answer, end = text.splitlines()
            if '\n'.join(answer) + '\n' != self.answer:
                self.sha256_match = False
                self.mismatches.append(f'{peers.name}: sqlite3 answers {answer}')
            return {'bytes': 0, 'seconds': float(end) - float(start)}

        do('sqlite', work, (self.owner, f'{peers.home}/places.db', self.answer_digest))

    def busy(self, peers, do, digest):
        """The same while TCP sends at a fixed rate, in the direction of the data."""
        for name, sink, source, work, check in (
                ('busy_write', self.owner, self.client, lambda: self.copy(BIG, f'{peers.away}/busy'),
                 (self.owner, f'{peers.home}/busy', digest)),
                ('busy_read', self.client, self.owner, lambda: self.copy(f'{peers.away}/busy', '/tmp/back/big'),
                 (self.client, '/tmp/back/big', digest))):
            taker = sink.start('rzio pump')
            lab.until(lambda sink=sink, taker=taker: not taker.running() or ':1389 ' in sink.run('cat /proc/net/tcp'),
                      20, 'rzio pump listens')
            giver = source.start(f'rzio pump --seconds 3600 --rate {PUMP} {sink.ip}')
            try:
                do(name, work, check)
            finally:
                giver.kill()
                giver.wait(30)
                carried = json.loads(taker.wait(30).output.splitlines()[-1])
            if not carried['bytes']:
                raise lab.Failure('the IP connection carried nothing')
            lab.say(f'          meanwhile TCP carried {carried["bytes"] / 1e6 / carried["seconds"]:.1f} MB/s')


def merge(rounds):
    """Of each phase the median of the rounds that have it; the counts are of all of them."""
    phases = {}
    for name in rounds[0]:
        runs = [phase[name] for phase in rounds if name in phase]
        if name == 'latency_4k_us':
            phases[name] = {kind: statistics.median(run[kind] for run in runs) for kind in runs[0]}
            continue
        counters = collections.Counter()
        for run in runs:
            counters.update(run['counters'])
        median = sorted(runs, key=lambda run: run['seconds'])[len(runs) // 2]
        phases[name] = {**median, 'bytes': sum(run['bytes'] for run in runs), 'counters': dict(counters),
                        'all_seconds': [run['seconds'] for run in runs]}
    return phases


def summary(name, phases):
    """What result.json says of rzcfs beside the times: copies, frames, blocks."""
    quiet = [p for n, p in phases.items() if n in PHASES and not n.startswith('busy')]

    def total(counter, of=quiet):
        return sum(p['counters'].get(counter, 0) for p in of)

    def cost(phase, side, copied, payload):
        p = phases[phase]
        p['cpu_copied_bytes'] = sum(p['counters'].get(f'{side}.{c}', 0) for c in copied)
        p['payload_bytes'] = p['counters'].get(f'{side}.{payload}', 0)
        # Stores to a mapping of a new file first fetch the pages: blocks that
        # arrived are counted, not those of the file.
        arrived = p['counters'].get('owner.rob_blocks', 0) + p['counters'].get('client.rob_blocks', 0)
        p['frames_per_block'] = round(p['counters'].get('wire.data', 0) / max(arrived, 1), 4)

    if name == 'rzcfs':
        cost('write', 'owner', ('srv_write_copied_bytes', 'rx_copied_bytes'), 'srv_write_payload_bytes')
        cost('mmap_write', 'owner', ('srv_write_copied_bytes', 'rx_copied_bytes'), 'srv_write_payload_bytes')
        cost('mmap_read', 'client', ('cl_landing_copied_bytes', 'cl_read_user_copied_bytes', 'rx_copied_bytes'),
             'cl_mmap_landed_bytes')
        cost('posix_read', 'client', ('cl_landing_copied_bytes', 'cl_read_user_copied_bytes', 'rx_copied_bytes'),
             'cl_read_landed_bytes')
        large = [phases[n] for n in ('write', 'mmap_write', 'posix_read', 'mmap_read')]
        phases['gathered_bytes'] = total('client.cl_write_gathered_bytes')
        phases['tx'] = {'cpu_copied_bytes': total('owner.tx_copied_bytes') + total('client.tx_copied_bytes'),
                        'payload_bytes': total('owner.srv_read_payload_bytes') + total('client.cl_write_payload_bytes')}
        phases['frames_per_block'] = max(p['frames_per_block'] for p in large)
        phases['prestore_used'] = total('owner.prestore_used') + total('client.prestore_used')
        phases['fallback_blocks'] = total('owner.fallback_blocks') + total('client.fallback_blocks')
        phases['nops'] = total('wire.nops')
        phases['bad_groups'] = sum(v for p in quiet for n, v in p['counters'].items() if '.rob_' in n and 'bad' in n)
    return phases


def checks(result):
    """(what must hold, does it) for the quiet phases."""
    r = result['rzcfs']
    yield 'SHA-256 match everywhere', result['sha256_match']
    for phase in ('write', 'mmap_write'):
        yield f'{phase}: payload was laid in place', r[phase]['payload_bytes'] >= r[phase]['bytes']
        yield f'{phase}: no payload byte copied by the owner\'s CPU', r[phase]['cpu_copied_bytes'] == 0
    yield 'transmit: no payload byte copied', r['tx']['cpu_copied_bytes'] == 0
    yield 'mmap read: no payload byte copied', r['mmap_read']['cpu_copied_bytes'] == 0
    yield 'read(2): at most one copy', r['posix_read']['cpu_copied_bytes'] <= r['posix_read']['bytes']
    yield 'at most 3.1 frames per block', 0 < r['frames_per_block'] <= 3.1
    yield 'no pre-store, no fallback', r['prestore_used'] == r['fallback_blocks'] == 0


def ratios(result):
    """rzcfs against the fastest NFS of the run; above 1: rzcfs is faster."""
    rivals = [result[n] for n in result if n.startswith('nfs')]
    ratio = {}
    if 'rzcfs' not in result or not rivals:
        return ratio
    for phase in PHASES:
        ratio[phase] = round(min(r[phase]['seconds'] for r in rivals) / result['rzcfs'][phase]['seconds'], 3)
    for kind in ('read', 'write'):
        ratio[f'latency_4k_{kind}'] = round(min(r['latency_4k_us'][kind] for r in rivals) /
                                            result['rzcfs']['latency_4k_us'][kind], 3)
    return ratio


def table(result):
    names = [n for n in result if n == 'rzcfs' or n.startswith('nfs')]
    ratio = result['ratio']

    def line(title, cells, factor=''):
        print(f'  {title:30}' + ''.join(f'{c:>12}' for c in cells) + f'{factor:>10}')

    line('', [n.replace('_', ' ') for n in names], 'ratio')
    for phase, title in PHASES.items():
        timed = phase == 'sqlite' or phase.startswith('tree')
        unit, key = ('s', 'seconds') if timed else ('MB/s', 'mb_per_s')
        line(title, [f'{result[n][phase][key]:.2f} {unit}' for n in names],
             f'{ratio[phase]:.2f}x' if ratio else '')
    for kind in ('read', 'write'):
        line(f'4 KiB {kind}, median', [f'{result[n]["latency_4k_us"][kind]:.0f} us' for n in names],
             f'{ratio[f"latency_4k_{kind}"]:.2f}x' if ratio else '')
    line('frames on the wire', [sum(result[n][p]['counters'].get('wire.frames', 0) for p in PHASES) for n in names])
    if 'rzcfs' not in result:
        return
    r = result['rzcfs']
    print(f'\n  rzcfs: {r["frames_per_block"]} frames per block at most, {r["nops"]} NOPs, '
          f'{r["bad_groups"]} bad groups, {r["fallback_blocks"]} blocks by the copying path, '
          f'{r["prestore_used"]} pre-stores')
    print(f'  small writes gathered in the client\'s page cache first: {r["gathered_bytes"]} bytes')
    print('  payload bytes copied by a CPU: '
          f'write {r["write"]["cpu_copied_bytes"]}, mmap write {r["mmap_write"]["cpu_copied_bytes"]}, '
          f'transmit {r["tx"]["cpu_copied_bytes"]}, mmap read {r["mmap_read"]["cpu_copied_bytes"]}, '
          f'read(2) {r["posix_read"]["cpu_copied_bytes"]} of {r["posix_read"]["bytes"]}')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--image', help='kernel (default: scripts/build zynqmp)')
    parser.add_argument('--out', default=lab.TOP / 'build/demo', type=pathlib.Path)
    parser.add_argument('--shares', default='rzcfs,nfs4,nfs3,nfs4_dax,nfs3_dax')
    parser.add_argument('--tree', default='/usr/share/zoneinfo', help='directory of a board with many small files')
    parser.add_argument('--drop', type=float, default=0, help='part of the frames that the cable loses')
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / 'result.json').unlink(missing_ok=True)
    result = {'ok': False}
    try:
        image = options.image or lab.default_image()
        with lab.Pair(image, extra=[(image, 'demo/Image')], keep=options.out / 'logs') as pair:
            demo = Demo(pair, options.tree)
            demo.prepare()
            if options.drop:
                pair.wire.do(f'set both drop={options.drop} seed=1')
            kinds = {'rzcfs': lambda: share.Rzcfs(pair.board[1], pair.board[2])}
            for version in ('4.2', '3'):
                for backing, suffix in (('ram', ''), ('pmem', '_dax')):
                    kinds[f'nfs{version[0]}{suffix}'] = (
                        lambda v=version, b=backing: share.Nfs(pair.board[1], pair.board[2], v, b))
            shares = options.shares.split(',')
            rounds = {name: [] for name in shares}
            for number in range(ROUNDS):    # forth and back: what the host does meanwhile concerns all
                for name in reversed(shares) if number % 2 else shares:
                    rounds[name].append(demo.run(kinds[name](), number == 0))
            for name in shares:
                result[name] = summary(name, merge(rounds[name]))
            pair.check()
            result['sha256_match'] = demo.sha256_match
            result['mismatches'] = demo.mismatches
            result['ratio'] = ratios(result)
            failed = [what for what, holds in checks(result) if not holds] if 'rzcfs' in result else []
            if options.drop:        # lost frames are asked for again: only the bytes count
                failed = [what for what in failed if 'SHA' in what]
            result['failed_checks'] = failed
            result['faster_in_every_row'] = bool(result['ratio']) and all(r > 1 for r in result['ratio'].values())
            result['ok'] = demo.sha256_match and not failed
    except (lab.Failure, OSError, ValueError, LookupError, subprocess.SubprocessError) as failure:
        result['failure'] = f'{failure.__class__.__name__}: {failure}'
        lab.say(result['failure'])
    (options.out / 'result.json').write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    if 'ratio' in result:
        table(result)
        for what in result['failed_checks']:
            print(f'  NOT MET: {what}')
    print(f'\n  {options.out / "result.json"}: {"ok" if result["ok"] else "NOT OK"}')
    return 0 if result['ok'] else 1


if __name__ == '__main__':
    sys.exit(main())
