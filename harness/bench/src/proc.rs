//! What the kernel says about processes and the machine: CPU time, memory, load of others.

use std::fs;
use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use tokio::time::Instant;

/// Length of one tick in `/proc/stat`: Linux reports 100 a second to programs everywhere.
const TICK: Duration = Duration::from_millis(10);

/// CPU time that a process has used since its start, ended threads included, in nanoseconds'
/// resolution. Fails when the process is gone.
pub fn cpu(pid: u32) -> io::Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))?;
    Ok(clock_gettime(clock)?.into())
}

/// CPU time of this process.
pub fn own_cpu() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// Resident memory of a process, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All resident pages.
    pub rss: u64,
    /// Those that no file backs.
    pub anon: u64,
    /// The highest `rss` since the start.
    pub peak: u64,
}

/// Reads the memory of a process.
pub fn memory(pid: u32) -> io::Result<Memory> {
    parse_memory(&fs::read_to_string(format!("/proc/{pid}/status"))?).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "no memory lines in /proc/PID/status",
        )
    })
}

fn parse_memory(status: &str) -> Option<Memory> {
    let field = |name: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    Some(Memory {
        rss: field("VmRSS:")?,
        anon: field("RssAnon:")?,
        peak: field("VmHWM:")?,
    })
}

/// CPU time of the whole machine that was not idle, stolen time included: what a hypervisor
/// takes away disturbs a measurement like any other load.
fn machine_busy() -> io::Result<Duration> {
    parse_busy(&fs::read_to_string("/proc/stat")?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no cpu line in /proc/stat"))
}

fn parse_busy(stat: &str) -> Option<Duration> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u32> = line
        .split_whitespace()
        .map(|n| n.parse().ok())
        .collect::<Option<_>>()?;
    // user nice system idle iowait irq softirq steal; guest time is part of user time.
    let [user, nice, system, _idle, _iowait, irq, softirq, steal] = *ticks.first_chunk()?;
    Some(TICK * (user + nice + system + irq + softirq + steal))
}

/// Measures how much CPU others used while our processes worked.
#[derive(Debug)]
pub struct Foreign {
    pids: Vec<u32>,
    since: Instant,
    busy: Duration,
    ours: Duration,
}

impl Foreign {
    /// Starts; `pids` are our processes besides this one and must live until [`Foreign::cores`].
    pub fn watch(pids: &[u32]) -> io::Result<Self> {
        Ok(Self {
            pids: pids.to_vec(),
            since: Instant::now(),
            busy: machine_busy()?,
            ours: ours(pids)?,
        })
    }

    /// Cores that others kept busy since the start, on average; never below zero.
    pub fn cores(&self) -> io::Result<f64> {
        let busy = (machine_busy()? - self.busy).as_secs_f64();
        let ours = (ours(&self.pids)? - self.ours).as_secs_f64();
        Ok(((busy - ours) / self.since.elapsed().as_secs_f64()).max(0.0))
    }
}

fn ours(pids: &[u32]) -> io::Result<Duration> {
    pids.iter()
        .try_fold(own_cpu()?, |sum, pid| Ok(sum + cpu(*pid)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_leaves_idle_iowait_and_guest_out() {
        let stat = "cpu  100 20 30 9000 500 4 5 6 70 80\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(parse_busy(stat), Some(Duration::from_millis(1650)));
        assert_eq!(parse_busy("cpu  1 2 three 4 5 6 7 8\n"), None);
        assert_eq!(parse_busy("intr 1\n"), None);
    }

    #[test]
    fn memory_lines_are_read_by_name() {
        let status = "Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t  7000 kB\nVmRSS:\t    6000 kB\nRssAnon:\t     600 kB\n";
        assert_eq!(
            parse_memory(status),
            Some(Memory {
                rss: 6000,
                anon: 600,
                peak: 7000
            })
        );
        assert_eq!(parse_memory("VmRSS:\t 1 kB\n"), None);
    }

    #[test]
    fn the_cpu_clock_of_a_process_moves_with_its_work() {
        let pid = std::process::id();
        let before = cpu(pid).unwrap();
        let mut sum = 0u64;
        while cpu(pid).unwrap() < before + Duration::from_millis(2) {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(sum > 0 && own_cpu().unwrap() >= before);
    }
}
