# shellcheck shell=bash
# Sourced by every script of the project: paths, messages, packages, disk space, the
# compiler cache, and the one function that turns patches/ into commits.
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=${RZCFS_CACHE:-${HOME:?}/.cache/rzcfs}
tree=${RZCFS_TREE:-$cache/tree}
jobs=${JOBS:-$(nproc)}
export top cache tree jobs

# The user's git configuration must not change what the scripts produce.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 \
	GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE

# Compiler cache; Debian's Python, whose modules we install; a kernel banner that does not depend on when and where.
export PATH=/usr/lib/ccache:/usr/bin:$PATH CCACHE_DIR=$cache/ccache CCACHE_BASEDIR=$cache \
	CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=15G \
	KBUILD_BUILD_TIMESTAMP=2026-01-01 KBUILD_BUILD_USER=rzcfs KBUILD_BUILD_HOST=rzcfs

# Progress goes to the terminal's stderr even where a caller keeps a command's output.
if [[ ${RZCFS_PROGRESS-} != 7 ]] || ! { true >&7; } 2>/dev/null; then
	exec 7>&2
	export RZCFS_PROGRESS=7
fi
say() { printf '==> %s\n' "$*" >&7; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# -h or --help: what the script says of itself.
if [[ " $* " == *" -h "* || " $* " == *" --help "* ]]; then
	sed -n '2,${/^#/!q;s/^# \?//p}' "$0"
	exit 0
fi

# need PACKAGE...: installs what is missing when run as root, names it otherwise.
need() {
	local p missing=()
	command -v dpkg-query >/dev/null || die "not a Debian system; these packages are needed: $*"
	for p; do
		[[ $(dpkg-query -Wf '${db:Status-Status}' "$p" 2>/dev/null) == installed ]] || missing+=("$p")
	done
	((${#missing[@]})) || return 0
	((EUID == 0)) || die "missing; as root: apt-get install ${missing[*]}"
	space / 3
	mkdir -p "$cache"
	say "installing ${missing[*]}"
	local apt=(apt-get -q -y -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)
	export DEBIAN_FRONTEND=noninteractive
	{ "${apt[@]}" update && "${apt[@]}" --no-install-recommends install "${missing[@]}"; } \
		>"$cache/apt.log" 2>&1 </dev/null ||
		die "apt-get cannot install ${missing[*]}: $(grep -m1 '^E: ' "$cache/apt.log" || echo "see $cache/apt.log") (no network, or apt without bookworm-security?)"
}

# space DIR GIB: dies unless DIR's file system has that much room.
space() {
	local free
	mkdir -p "$1"
	free=$(df --output=avail -k "$1" | tail -n1)
	((free >> 20 >= $2)) || die "$1 has $((free >> 20)) GiB free, $2 GiB are needed"
}

# lock NAME: one script at a time; waits, and says so.
lock() {
	mkdir -p "$cache"
	exec 9>"$cache/$1.lock"
	flock -n 9 || { say "waiting for another run ($1)"; flock 9; }
}

patches() { sed 's/[[:space:]]*\(#.*\)\?$//; /^$/d' "$top/series"; }

# apply_series REPO COMMIT: commits the series on top of COMMIT, in REPO's object store
# only, and prints the last commit. The committer is fixed, so the same series on the same
# base gives the same hashes.
apply_series() {
	local repo=$1 at p tmp object
	tmp=$(mktemp -d)
	export GIT_INDEX_FILE=$tmp/index
	at=$(git -C "$repo" rev-parse --verify "$2")
	git -C "$repo" read-tree "$at"
	for p in $(patches); do
		[[ -f $top/patches/$p ]] || die "series names $p, which patches/ has not"
		git mailinfo -b "$tmp/msg" "$tmp/diff" <"$top/patches/$p" >"$tmp/info"
		git -C "$repo" apply --cached --whitespace=nowarn "$tmp/diff" 2>"$tmp/err" ||
			die "$p does not apply: $(head -n1 "$tmp/err")"
		object=$(git -C "$repo" write-tree)
		{ field Subject; echo; cat "$tmp/msg"; } | git stripspace >"$tmp/text"
		at=$(GIT_AUTHOR_NAME=$(field Author) GIT_AUTHOR_EMAIL=$(field Email) \
			GIT_AUTHOR_DATE=$(field Date) GIT_COMMITTER_DATE=$(field Date) \
			GIT_COMMITTER_NAME=rzcfs GIT_COMMITTER_EMAIL=rzcfs@localhost \
			git -C "$repo" commit-tree "$object" -p "$at" -F "$tmp/text")
	done
	unset GIT_INDEX_FILE
	rm -r "$tmp"
	echo "$at"
}
field() { sed -n "s/^$1: //p" "$tmp/info"; }

# Sums of "N passed, N failed".
passed=0 failed=0
# tally NAME COMMAND...: runs it, adds the counts of its last line; without one, or with
# counts that hide a bad exit status, it is one failure.
tally() {
	local name=$1 log status
	shift
	log=$(mktemp)
	say "$name"
	set +e # not in a condition: the command's own set -e must work
	(set -e; "$@") | tee "$log"
	status=${PIPESTATUS[0]}
	set -e
	if [[ $(tail -n1 "$log") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		((status && !BASH_REMATCH[2])) && { failed=$((failed + 1)); say "$name: exit status $status"; }
	else
		failed=$((failed + 1))
		say "$name: no result (exit status $status)"
	fi
	rm "$log"
}
# verdict: the last line; nothing run is no success.
verdict() {
	echo "$passed passed, $failed failed"
	((passed && !failed))
}
