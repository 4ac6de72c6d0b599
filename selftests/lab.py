# SPDX-License-Identifier: GPL-2.0
"""Two emulated ZCU102 boards on one cable, and what a test asks of them.

    with lab.Pair(image) as pair:
        pair.board[1].run('ping -c1 10.9.0.2')

Every wait here has an end. A board whose kernel complains (panic, oops,
WARNING, lockdep, KASAN, DMA-API, hung task, RCU stall) or whose QEMU dies
makes whatever is asked of it next raise Crash with the lines in question.
"""

import collections
import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import pathlib
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = TOP / 'build' / 'selftests'
CACHE = pathlib.Path(os.environ.get('RZCFS_CACHE', pathlib.Path.home() / '.cache/rzcfs'))
# What the kernel uses of it: kernel-config/zynqmp-emulated.dts. The rest is never touched.
RAM = 2304 << 20
USED = 1 << 30
LOW, HIGH_BASE = 2 << 30, 0x800000000
NVM_BASE = 0x30000000

# An emulated board on a busy host is slow; every limit is multiplied by this.
PATIENCE = float(os.environ.get('RZCFS_PATIENCE', '3'))
# How much slower a kernel with checks is taken to be, for what must not outrun it.
SLOWER = max(1, PATIENCE / 3)

COMPLAINT = re.compile(
    r'Kernel panic|Oops|Internal error|Unable to handle kernel|\bBUG: |WARNING: |'
    r'INFO: (possible|suspicious|inconsistent|task .* blocked|rcu_)|possible circular locking|'
    r'possible recursive locking|inconsistent lock state|suspicious RCU usage|KASAN: |UBSAN: |'
    r'KCSAN: |DMA-API: .*(?!debugging|preallocated)|unreferenced object|blocked for more than|'
    r'self-detected stall|detected stalls|Call trace:|soft lockup|scheduling while atomic')
HARMLESS = re.compile(r'DMA-API: (preallocated|debugging)|hung_task_|rcu_.*offload')


def memory_offset(physical):
    """Where a board's physical address lies in the file of its memory."""
    return physical if physical < LOW else physical - HIGH_BASE + LOW


class Failure(Exception):
    """A test's expectation was not met."""


class Skip(Exception):
    """This board cannot run the test."""


class Crash(Failure):
    """A board's kernel complained, or its QEMU is gone."""


def say(text):
    print(f'# {text}', file=sys.stderr, flush=True)


def until(condition, seconds, what):
    """Waits for condition() to be true; gives its value."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f'{what}: not within {seconds * PATIENCE:.0f} s')
        time.sleep(0.05)


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


class Process:
    """A child that dies with us, even if we are killed, and is ended by its pid."""

    def __init__(self, argv, log, **options):
        self.log = pathlib.Path(log)
        with open(self.log, 'ab') as output:
            self.child = subprocess.Popen(argv, stderr=output, start_new_session=True,
                                          preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), **options)

    def gone(self):
        return self.child.poll() is not None

    def stop(self, how=signal.SIGKILL):
        if not self.gone():
            self.child.send_signal(how)
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(20)


class Wire(Process):
    """The cable: see wire/main.cpp for its commands."""

    def __init__(self, directory):
        self.ends = {n: str(directory / f'wire{n}') for n in (1, 2)}
        super().__init__([BUILD / 'host/wire', self.ends[1], self.ends[2]], directory / 'wire.log',
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.answer()

    def answer(self):
        if not select.select([self.child.stdout], [], [], 20 * PATIENCE)[0]:
            raise Failure(f'the wire does not answer: {self.log.read_text()}')
        line = self.child.stdout.readline()
        if not line:
            raise Failure(f'the wire is gone: {self.log.read_text()}')
        answer = json.loads(line)
        if 'error' in answer:
            raise Failure(f'wire: {answer["error"]}')
        return answer

    def do(self, command):
        self.child.stdin.write(command.encode() + b'\n')
        self.child.stdin.flush()
        return self.answer()

    def good(self):
        """Lossless and quiet again."""
        self.do('set both')
        self.do('flood 1 frames=0')
        self.do('flood 2 frames=0')

    def stats(self):
        return self.do('stats')

    def stop(self, how=signal.SIGKILL):
        self.child.stdin.close()
        super().stop(how)


Result = collections.namedtuple('Result', 'status output')


class Job:
    """A command running on a board."""

    def __init__(self, board, number, command):
        self.board, self.number, self.command = board, number, command
        self.output = bytearray()
        self.status = None
        self.ended = threading.Event()

    def running(self):
        return not self.ended.is_set()

    def kill(self, sig=signal.SIGKILL):
        self.board.send(f'KILL {self.number} {int(sig)}\n'.encode())

    def wait(self, seconds=30):
        """Gives status and output; a command that takes longer is a failure."""
        end = time.monotonic() + seconds * PATIENCE
        while not self.ended.wait(0.2):
            self.board.check()
            if time.monotonic() > end:
                self.board.blame()
                self.kill()
                self.ended.wait(5)
                text = self.output.decode(errors='replace')[-2000:]
                raise Failure(f'board {self.board.number}: no end within {seconds * PATIENCE:.0f} s: '
                              f'{self.command}\n{text}')
        return Result(self.status, self.output.decode(errors='replace'))


class Board:
    """One emulated board. Its memory is a file that outlives QEMU."""

    def __init__(self, number, directory, image, dtb, initrd, wire_end, arguments=()):
        self.number = number
        self.ip, self.mac = f'10.9.0.{number}', f'02:00:00:00:00:0{number}'
        self.directory, self.memory = directory, directory / f'memory{number}'
        self.image, self.dtb, self.initrd, self.wire_end = image, dtb, initrd, wire_end
        self.arguments = [a.format(board=number) for a in arguments]
        self.console = directory / f'console{number}.log'
        self.console.write_bytes(b'')
        self.checked = 0        # bytes of the console already looked at
        self.forgiven = False   # complaints are part of the running test
        self.process = self.port = None
        self.jobs, self.next_job, self.lock = {}, 1, threading.Lock()
        with open(self.memory, 'wb') as file:
            file.truncate(RAM)

    # Power

    def power_on(self):
        agent = self.directory / f'agent{self.number}'
        agent.unlink(missing_ok=True)
        nic = ['-net', 'nic'] * 3
        self.process = Process([
            'qemu-system-aarch64', '-machine', 'xlnx-zcu102,memory-backend=ram', '-smp', '2',
            '-m', str(RAM >> 20), '-object',
            f'memory-backend-file,id=ram,size={RAM},mem-path={self.memory},share=on',
            '-kernel', self.image, '-dtb', self.dtb, '-initrd', self.initrd, '-append',
            f'console=ttyPS0,115200 loglevel=7 rdinit=/init board={self.number} panic=-1 oops=panic '
            # The root file system may have more than half of what is free while the archive is still there.
            'initramfs_options=size=90% '
            f'sans.timeout_ms={10000 * SLOWER:.0f} ' + os.environ.get('RZCFS_CMDLINE', ''),
            '-display', 'none', '-monitor', 'none', '-no-reboot', '-audiodev', 'none,id=quiet', *nic,
            '-net', f'nic,netdev=cable,macaddr={self.mac}',
            '-netdev', f'stream,id=cable,server=off,addr.type=unix,addr.path={self.wire_end}',
            '-chardev', f'file,id=console,path={self.console},append=on', '-serial', 'chardev:console',
            '-chardev', f'socket,id=agent,path={agent},server=on,wait=off', '-serial', 'chardev:agent',
            *self.arguments], self.directory / f'qemu{self.number}.log',
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until(lambda: self.process.gone() or agent.exists(), 20, f'board {self.number}: QEMU')
        if self.process.gone():
            raise Crash(f'QEMU does not start: {self.process.log.read_text()[-500:]}')
        self.port = socket.socket(socket.AF_UNIX)
        # the name is there a moment before anybody listens
        until(lambda: not self.port.connect_ex(str(agent)), 20, f'board {self.number}: its serial line')
        self.jobs, self.ready = {}, threading.Event()
        threading.Thread(target=self.listen, args=(self.port, self.jobs, self.ready), daemon=True).start()

    def booted(self, seconds=90):
        end = time.monotonic() + seconds * PATIENCE
        while not self.ready.wait(0.2):
            self.check()
            if time.monotonic() > end:
                raise Crash(f'board {self.number} does not boot:\n{self.console_end()}')

    def power_off(self):
        """As when the plug is pulled: the memory file keeps what was stored."""
        if self.process:
            self.process.stop()
            if self.port:
                self.port.close()
        self.process = None
        for job in self.jobs.values():
            job.ended.set()

    def power_on_again(self):
        """Off it must be. What the kernel said to the end is looked at first."""
        self.check()
        self.checked = self.console.stat().st_size  # the last line may be torn
        self.power_on()

    @contextlib.contextmanager
    def held(self):
        """The machine stands still; what comes in on the wire meanwhile, it finds all at once."""
        self.process.child.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.child.send_signal(signal.SIGCONT)

    def restart(self):
        self.power_off()
        self.power_on_again()
        self.booted()

    # Commands

    def listen(self, port, jobs, ready):
        stream = port.makefile('rb')
        try:
            for line in stream:
                if not line.endswith(b'\n'):
                    break       # the power went
                words = line.split()
                if words[:1] == [b'READY']:
                    ready.set()
                elif words[:1] == [b'OUT']:
                    data = stream.read(int(words[2]))
                    if int(words[1]) in jobs:
                        jobs[int(words[1])].output += data
                elif words[:1] == [b'END'] and int(words[1]) in jobs:
                    job = jobs.pop(int(words[1]))
                    job.status = int(words[2])
                    job.ended.set()
        except (OSError, ValueError):
            pass

    def send(self, data):
        with self.lock:
            try:
                self.port.sendall(data)
            except OSError as error:
                self.check()
                raise Crash(f'board {self.number}: {error}') from error

    def start(self, command):
        """Starts a bash script on the board."""
        self.check()
        job = Job(self, self.next_job, command)
        self.next_job += 1
        self.jobs[job.number] = job
        script = command.encode()
        if len(script) > 30000:
            raise ValueError('script too long for the serial port')
        self.send(f'RUN {job.number} {len(script)}\n'.encode() + script)
        return job

    def run(self, command, seconds=30, check=True):
        """Runs a bash script; a bad exit status is a failure unless check=False."""
        result = self.start(command).wait(seconds)
        self.check()
        if check and result.status:
            raise Failure(f'board {self.number}: exit status {result.status}: {command}\n{result.output[-3000:]}')
        return result.output if check else result

    def json(self, command, seconds=30):
        return json.loads(self.run(command, seconds).strip().splitlines()[-1])

    def rzio(self, *words, seconds=120):
        return self.json('rzio ' + ' '.join(shlex.quote(str(w)) for w in words), seconds)

    def counters(self, command):
        """`name value` or `name: value` lines as a dictionary."""
        found = {}
        for line in self.run(command, check=False).output.splitlines():
            match = re.match(r'\s*([\w.\[\]-]+):?\s+(-?\d+)\s*$', line)
            if match:
                found[match[1]] = int(match[2])
        return found

    # Health

    def new_console(self):
        with open(self.console, 'rb') as file:
            file.seek(self.checked)
            return file.read().decode(errors='replace')

    def console_end(self, lines=40):
        return '\n'.join(self.console.read_text(errors='replace').splitlines()[-lines:])

    def blame(self):
        """Lets the kernel say what is blocked."""
        if not self.forgiven:
            self.forgiven = True
            try:
                self.run('echo w >/proc/sysrq-trigger; sleep 1; '
                         'grep -l "^State:.D" /proc/[0-9]*/status | while read -r f; do '
                         'cat "${f%status}stack" >/dev/kmsg; done', 5, check=False)
            except Failure:
                pass

    def check(self):
        if self.forgiven:
            return
        text = self.new_console()
        end = text.rfind('\n') + 1
        for line in text[:end].splitlines():
            if COMPLAINT.search(line) and not HARMLESS.search(line):
                time.sleep(1)   # let it finish
                text = self.new_console()
                self.checked += len(text.encode())
                at = text.index(line)
                raise Crash(f'board {self.number}:\n{text[at:at + 6000]}')
        self.checked += len(text[:end].encode(errors='replace'))
        if self.process and self.process.gone():
            raise Crash(f'board {self.number}: QEMU ended by itself\n{self.process.log.read_text()[-500:]}\n'
                        + self.console_end())

    # Memory from outside

    def nvm(self, size=None):
        """The NVM as the host sees it, readable and writable."""
        with open(self.memory, 'r+b') as file:
            return mmap.mmap(file.fileno(), size or self.nvm_size(), offset=NVM_BASE)

    def nvm_size(self):
        return int(self.run('cat /sys/class/block/pmem0/size')) * 512


def need(packages):
    """Packages of Debian's that must be on the host."""
    if subprocess.run(['bash', '-c', f'. "{TOP}/scripts/lib.sh"; need {packages}'], check=False).returncode:
        raise Failure('packages are missing')


def build_programs(image):
    """Wire, agent, board programs and, if the kernel's tree has the file
    system, its mkfs; quick when nothing changed."""
    need('qemu-system-arm mmdebstrap cpio rsync device-tree-compiler cmake ninja-build build-essential '
         'g++-aarch64-linux-gnu libcli11-dev libfmt-dev libgtest-dev nlohmann-json3-dev')
    BUILD.mkdir(parents=True, exist_ok=True)
    lock = open(BUILD / '.lock', 'w', encoding='utf-8')     # until this function ends
    fcntl.flock(lock, fcntl.LOCK_EX)
    for name, options in (('host', ()), ('arm64', (f'-DCMAKE_TOOLCHAIN_FILE={TOP}/selftests/board/arm64.cmake',))):
        cmake(TOP / 'selftests', BUILD / name, options)
    tree = pathlib.Path(image).resolve().parents[4]     # TREE/build-TARGET/arch/arm64/boot/Image
    if (tree / 'include/uapi/linux/rzcfs_fs.h').exists():
        cmake(TOP / 'utils', BUILD / 'utils-arm64',
              (f'-DCMAKE_TOOLCHAIN_FILE={TOP}/selftests/board/arm64.cmake', f'-DKERNEL_TREE={tree}',
               '-DRZCFS_STATIC=ON', '-DCMAKE_EXE_LINKER_FLAGS=-s'))


def build_kselftests(tree, *cross):
    """The project's tests in the kernel's own tree, for the host or as `cross` says: (file, path on the board)."""
    base = tree / 'tools/testing/selftests'
    targets = [str(path.parent.relative_to(base)) for path in base.glob('*/*/Makefile')
               if path.parent.name in ('rob', 'rzcfs', 'sans')]
    if not targets:
        return []
    out, build = (BUILD / f'kselftest-{"cross" if cross else "host"}' / part for part in ('out', 'build'))
    for place in (out, build):      # of this tree, whatever was built before
        shutil.rmtree(place, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    log = out.parent / 'log'
    with open(log, 'w', encoding='utf-8') as output:
        argv = ['make', '-s', '-C', base, *cross, 'LDFLAGS=-static', f'TARGETS={" ".join(targets)}',
                f'O={build}', f'INSTALL_PATH={out}', 'install']
        if subprocess.run(argv, stdout=output, stderr=output, check=False).returncode:
            raise Failure(f'the in-tree selftests do not build: see {log}')
    return [(path, f'kselftest/{path.relative_to(out)}') for path in out.rglob('*') if path.is_file()]


def cmake(source, build, options):
    build.mkdir(parents=True, exist_ok=True)
    log = build / 'log'
    with open(log, 'w', encoding='utf-8') as output:
        for argv in (['cmake', '-S', source, '-B', build, '-G', 'Ninja', *options],
                     ['cmake', '--build', build]):
            if subprocess.run(argv, stdout=output, stderr=output, check=False).returncode:
                raise Failure(f'{source} does not build: see {log}')


def root_file_system(directory, extra=()):
    """extra: (file on the host, path on the board)"""
    programs = 'agent', 'rzio', 'churn', 'fsbench', 'twin'
    files = [(BUILD / 'arm64' / name, f'bin/{name}') for name in programs] + list(extra)
    for name in ('mkfs.rzcfs', 'fsck.rzcfs', 'dumpfs.rzcfs'):
        tool = BUILD / 'utils-arm64' / name
        if tool.exists():
            files.append((tool, f'sbin/{name}'))
    return initramfs(directory, files)


def initramfs(directory, files, arch='arm64', packages=None):
    """Debian and these files. `packages` are further ones (default: as the environment says)."""
    out = directory / 'rootfs.cpio'
    argv = [TOP / 'selftests/rootfs', out, *(f'{host}={board}' for host, board in files)]
    more = os.environ.get('RZCFS_PACKAGES', '') if packages is None else packages
    if subprocess.run(argv, stdout=subprocess.DEVNULL, check=False,
                      env={**os.environ, 'RZCFS_ARCH': arch, 'RZCFS_PACKAGES': more}).returncode:
        raise Failure('selftests/rootfs failed')
    return out


def device_tree(directory):
    source = pathlib.Path(os.environ.get('RZCFS_DTS', TOP / 'kernel-config/zynqmp-emulated.dts'))
    out = directory / 'board.dtb'
    subprocess.run(['dtc', '-q', '-I', 'dts', '-O', 'dtb', '-o', out, source], check=True)
    return out


class Pair:
    """Both boards and the cable; their logs are left in keep/. `arguments` are
    further ones of QEMU, where {board} becomes 1 or 2."""

    def __init__(self, image, extra=(), arguments=(), keep=None):
        self.image, self.extra, self.arguments = image, extra, arguments
        self.keep = pathlib.Path(keep or BUILD / 'logs')
        self.board = {}
        self.wire = self.directory = None

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        build_programs(self.image)
        place = '/dev/shm' if shutil.disk_usage('/dev/shm').free > 3 * USED else None
        for left in pathlib.Path(place or tempfile.gettempdir()).glob('rzcfs-[0-9]*-*'):
            if not pathlib.Path('/proc', left.name.split('-')[1]).exists():
                shutil.rmtree(left, ignore_errors=True)     # of a run that was killed
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f'rzcfs-{os.getpid()}-', dir=place))
        try:
            self.wire = Wire(self.directory)
            tree = pathlib.Path(self.image).resolve().parents[4]     # TREE/build-TARGET/arch/arm64/boot/Image
            files = [*self.extra, *build_kselftests(tree, 'ARCH=arm64', 'CROSS_COMPILE=aarch64-linux-gnu-')]
            initrd, dtb = root_file_system(self.directory, files), device_tree(self.directory)
            for n in (1, 2):
                self.board[n] = Board(n, self.directory, self.image, dtb, initrd, self.wire.ends[n],
                                      self.arguments)
                self.board[n].power_on()
            start = time.monotonic()
            for board in self.board.values():
                board.booted()
            say(f'two boards are up after {time.monotonic() - start:.0f} s')
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for board in self.board.values():
            board.power_off()
        if self.wire:
            self.wire.stop()
        self.keep.mkdir(parents=True, exist_ok=True)
        for log in self.keep.glob('*.log'):
            log.unlink()
        for log in self.directory.glob('*.log'):
            shutil.copy(log, self.keep)
        shutil.rmtree(self.directory)

    def check(self):
        for board in self.board.values():
            board.check()

    def restart(self):
        """Both boards anew, after a test that may have left them in any state."""
        self.wire.good()
        for board in self.board.values():
            board.power_off()
            board.checked = board.console.stat().st_size
            board.forgiven = False
            board.power_on()
        for board in self.board.values():
            board.booted()


def default_image(target='zynqmp'):
    """What scripts/build makes; for boards, RZCFS_IMAGE if that is set."""
    if target == 'zynqmp' and 'RZCFS_IMAGE' in os.environ:
        return os.environ['RZCFS_IMAGE']
    result = subprocess.run([TOP / 'scripts/build', target], stdout=subprocess.PIPE, check=False, text=True)
    if result.returncode:
        raise Failure(f'scripts/build {target} failed')
    return result.stdout.strip().splitlines()[-1]
