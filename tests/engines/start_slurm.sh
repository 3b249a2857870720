#!/usr/bin/env bash
# Start a Slurm of one machine in a folder of its own, on the loopback address, for the tests.
#   start_slurm.sh start FOLDER    munged, slurmctld and slurmd; prints the file that SLURM_CONF names
#   start_slurm.sh stop FOLDER     end them
# Needs Debian's packages slurm-wlm and munge, and root.
set -euo pipefail
command=$1 folder=$(realpath -m "$2")
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

stop() {
  for name in slurmd slurmctld munged; do
    [ -s "$folder/$name.pid" ] && kill "$(cat "$folder/$name.pid")" 2>/dev/null || true
  done
  rm -f "$folder"/*.pid
}

start() {
  for name in munged slurmctld slurmd; do
    command -v "$name" >/dev/null || { echo "$name is not here: apt-get install slurm-wlm munge" >&2; exit 4; }
  done
  mkdir -p "$folder/state" "$folder/spool"
  chmod 755 "$folder"
  dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 status=none
  chmod 400 "$folder/munge.key"
  munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munged.seed"
  cores=$(nproc)
  cat > "$folder/slurm.conf" <<CONF
ClusterName=here
SlurmctldHost=localhost(127.0.0.1)
SlurmctldAddr=127.0.0.1
SlurmctldPort=$(port)
SlurmdPort=$(port)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
CommunicationParameters=NoAddrCache
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0,defer=0
SchedulerType=sched/builtin
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
JobRequeue=1
MinJobAge=300
InactiveLimit=0
KillWait=2
SlurmctldTimeout=30
SlurmdTimeout=30
NodeName=node1 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$cores State=UNKNOWN
PartitionName=main Nodes=node1 Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
CONF
  export SLURM_CONF="$folder/slurm.conf"
  slurmctld -c
  slurmd -N node1 -c
  for _ in $(seq 100); do
    [ "$(sinfo -h -o %t 2>/dev/null)" = idle ] && { echo "$SLURM_CONF"; return; }
    sleep 0.2
  done
  echo "Slurm did not come up; last lines of its logs:" >&2
  tail -n 20 "$folder"/*.log >&2
  exit 4
}

case $command in start) start ;; stop) stop ;; *) sed -n 2,5p "$0"; exit 2 ;; esac
