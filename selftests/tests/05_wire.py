# SPDX-License-Identifier: GPL-2.0
"""The unit tests of the cable that everything else hangs on."""

import subprocess

import lab


def test_unit_tests(_):
    done = subprocess.run([lab.BUILD / 'host/wire_test'], stdout=subprocess.PIPE, text=True, timeout=100, check=False)
    if done.returncode:
        raise lab.Failure(done.stdout[-3000:])
