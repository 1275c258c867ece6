"""Install the Debian packages that the tests of real peers use: as root on Debian only.

`make test` runs this first. Elsewhere it changes nothing, and the tests that need a peer which is not
there are skipped with the reason shown. A peer that is already installed is left alone.
"""

import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path

#: program -> Debian package
PEERS = {
    "kamailio": "kamailio",
    "sipp": "sip-tester",
    "sngrep": "sngrep",
    "tshark": "tshark",
    "ip": "iproute2",
    "ss": "iproute2",
    "sysctl": "procps",
    "tcpreplay": "tcpreplay",
    "ethtool": "ethtool",
    "openssl": "openssl",
    "unshare": "util-linux",
    "tc": "iproute2",
    "mariadbd": "mariadb-server",
    "mariadb": "mariadb-client",
    "psql": "postgresql-client",
    "pg_ctlcluster": "postgresql",
    "clickhouse-server": "clickhouse-server",
    "odbcinst": "odbcinst",
    "kamctl": "kamailio",
    "chromium": "chromium",
}
#: file -> Debian package, of what has no program
FILES = {
    "/usr/lib/*/odbc/libsqlite3odbc.so": "libsqliteodbc",
    "/usr/lib/*/kamailio/modules/db_mysql.so": "kamailio-mysql-modules",
    "/usr/lib/*/kamailio/modules/db_postgres.so": "kamailio-postgres-modules",
}


#: Node modules that tests run: name -> version. They are put into NODE_MODULES by the test that needs them.
NODE_PACKAGES = {"oidc-provider": "9.13.3"}
NODE_MODULES = Path(__file__).parents[2] / "build" / "peers" / "node"


def install_node_module(name: str) -> str:
    """Put a module of node's registry into build/; return why not, "" where it is there."""
    if (NODE_MODULES / "node_modules" / name).is_dir():
        return ""
    if shutil.which("npm") is None:
        return f"npm, which would bring {name}, is not installed"
    NODE_MODULES.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(NODE_MODULES)]
    command.append(f"{name}@{NODE_PACKAGES[name]}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    except subprocess.TimeoutExpired:
        return f"npm install {name} took too long"
    return "" if done.returncode == 0 else f"npm install {name}: {done.stderr.strip()[-300:]}"


def missing() -> list[str]:
    """Return the packages of the peers that are not on this machine."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    wanted = [package for program, package in PEERS.items() if shutil.which(program, path=path) is None]
    wanted += [package for pattern, package in FILES.items() if not glob.glob(pattern)]
    return list(dict.fromkeys(wanted))


def main() -> int:
    """Install what is missing; never fails the build: the tests say what they could not find."""
    packages = missing()
    for name in NODE_PACKAGES:
        why = install_node_module(name)
        if why:
            print(f"peers: {why}; its tests are skipped")
    if not packages:
        return 0
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"peers: not installed (needs root on Debian): {' '.join(packages)}; their tests are skipped")
        return 0
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    print(f"peers: installing {' '.join(packages)}")
    for attempt in (install, ["apt-get", "update", "-qq"], install):
        done = subprocess.run(attempt, env=environment, capture_output=True, text=True)
        if attempt is install and done.returncode == 0:
            return 0
    print(f"peers: apt-get failed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
