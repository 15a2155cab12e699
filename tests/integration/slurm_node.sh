#!/usr/bin/env bash
# A Slurm cluster of this one machine, without systemd, cgroups or accounting:
#   slurm_node.sh start FOLDER CONTROLLER_PORT NODE_PORT
#   slurm_node.sh stop FOLDER
# All state lies in FOLDER, as do keys and logs. To use it, set SLURM_CONF=FOLDER/slurm.conf and
# put FOLDER/bin before the PATH.
set -euo pipefail

folder=$2
export SLURM_CONF=$folder/slurm.conf

start() {
    local host cores memory
    host=$(hostname -s)
    # Jobs of a test are small: more of them may run than there are cores.
    cores=4
    memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
    mkdir -p "$folder"/{bin,controller,node}
    # Snakemake takes SLURM_* out of the environment of its jobs, SLURM_CONF with it.
    printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$SLURM_CONF" "$(command -v srun)" >"$folder/bin/srun"
    chmod +x "$folder/bin/srun"
    dd if=/dev/urandom of="$folder/munge.key" bs=1 count=1024 2>"$folder/dd.log"
    chmod 0400 "$folder/munge.key"
    munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" \
        --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" \
        --seed-file="$folder/munged.seed" 2>"$folder/munged.start.log"

    cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$3
SlurmdPort=$4
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=5,batch_sched_delay=0
ReturnToService=2
MinJobAge=600
StateSaveLocation=$folder/controller
SlurmdSpoolDir=$folder/node
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    echo "CgroupPlugin=cgroup/v1" >"$folder/cgroup.conf"
    slurmctld
    slurmd
    for _ in $(seq 100); do
        if sinfo --noheader --format=%T 2>"$folder/sinfo.log" | grep --quiet idle; then
            return 0
        fi
        sleep 0.2
    done
    cat "$folder"/*.log >&2
    return 1
}

stop() {
    scancel --full --user=root 2>"$folder/scancel.log" || true
    local name pid
    for name in slurmd slurmctld munged; do
        [ -s "$folder/$name.pid" ] || continue
        pid=$(cat "$folder/$name.pid")
        kill "$pid" || continue
        for _ in $(seq 100); do
            [ -d "/proc/$pid" ] || break
            sleep 0.1
        done
    done
}

"$1" "$@"
