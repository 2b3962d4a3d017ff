//! How busy each thread of the daemon is, from `/proc/<pid>/task`: what the kernel says, not what the daemon believes.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use super::snapshot::ThreadRow;

/// Remembers the sample before, to make shares out of run times.
#[derive(Default)]
pub(super) struct ThreadWatch {
    before: HashMap<u32, (u64, Instant)>,
}

impl ThreadWatch {
    /// All threads of a process, the busiest kinds first: by name. Empty when the process is not ours to look at.
    ///
    /// `roles` are the names of links and spacecraft: the kernel keeps only the beginning of the name of their threads.
    pub(super) fn sample(&mut self, pid: u32, roles: &[&str]) -> Vec<ThreadRow> {
        let mut now = HashMap::new();
        let mut rows = Vec::new();
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return rows };
        for entry in entries.flatten() {
            let path = entry.path();
            let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let Some((run_ns, mut row)) = read_thread(&path, tid, roles) else { continue };
            let at = Instant::now();
            if let Some((run_before, before)) = self.before.get(&tid) {
                let wall_ns = at.duration_since(*before).as_nanos().max(1) as f64;
                row.busy_pct = (run_ns.saturating_sub(*run_before) as f64 / wall_ns * 100.0).min(100.0);
            }
            now.insert(tid, (run_ns, at));
            rows.push(row);
        }
        self.before = now;
        rows.sort_by(|a, b| a.name.cmp(&b.name).then(a.tid.cmp(&b.tid)));
        rows
    }
}

/// Nanoseconds a thread has run, and what else is known of it. `None` when it has gone meanwhile.
fn read_thread(path: &Path, tid: u32, roles: &[&str]) -> Option<(u64, ThreadRow)> {
    let name = shown_name(fs::read_to_string(path.join("comm")).ok()?.trim(), roles);
    // First field: time on a processor in nanoseconds.
    let run_ns = fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()?;
    let stat = fs::read_to_string(path.join("stat")).ok()?;
    let (core, policy) = scheduling(&stat)?;
    Some((run_ns, ThreadRow { name, tid, core, busy_pct: 0.0, policy }))
}

/// The whole name of a thread. The kernel keeps fifteen octets: one of this length is that of the role it can only be of, or
/// else most likely longer than is known.
fn shown_name(kept: &str, roles: &[&str]) -> String {
    const KEPT_MAX: usize = 15;
    if kept.len() < KEPT_MAX {
        return kept.to_owned();
    }
    let mut whole = roles.iter().map(|role| format!("fep-{role}")).filter(|name| name.starts_with(kept));
    match (whole.next(), whole.next()) {
        (Some(name), None) => name,
        _ => format!("{kept}…"),
    }
}

/// Last core and policy from a `stat` line (proc(5): fields 39, 40 and 41). The name in field 2 may hold anything, so
/// fields are counted from its closing bracket.
fn scheduling(stat: &str) -> Option<(u32, String)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let core = field(39)?.parse().ok()?;
    let policy = match field(41)? {
        "1" => format!("fifo {}", field(40)?),
        "2" => format!("rr {}", field(40)?),
        "3" => "batch".to_owned(),
        "5" => "idle".to_owned(),
        _ => "other".to_owned(),
    };
    Some((core, policy))
}

/// Resident memory of a process in octets; 0 when it cannot be read.
pub(super) fn resident_bytes(pid: u32) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
        })
        .map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_kernel_has_cut_is_that_of_the_only_role_it_can_be_of_and_ends_with_an_ellipsis_otherwise()
     {
        let shown =
            |kept| shown_name(kept, &["cso-1", "cso-2-payload", "north-antenna-1", "north-antenna-2"]);
        assert_eq!(shown("fep-cso-2-paylo"), "fep-cso-2-payload");
        assert_eq!(shown("fep-north-anten"), "fep-north-anten…");
        assert_eq!(shown("fep-nobody-know"), "fep-nobody-know…");
        assert_eq!(shown("fep-cso-1"), "fep-cso-1");
    }

    #[test]
    fn a_thread_called_like_the_end_of_a_field_is_still_read_right() {
        let tail: String = (4..=52)
            .map(|field| match field {
                39 => " 7".to_owned(),
                40 => " 50".to_owned(),
                41 => " 1".to_owned(),
                _ => " 0".to_owned(),
            })
            .collect();
        assert_eq!(scheduling(&format!("12 (a) b) S{tail}")), Some((7, "fifo 50".to_owned())));
        assert_eq!(scheduling("12 (short) S 0 0"), None);
        assert_eq!(scheduling("nonsense"), None);
    }

    #[test]
    fn this_process_has_a_thread_and_memory() {
        let mut watch = ThreadWatch::default();
        let pid = std::process::id();
        assert!(!watch.sample(pid, &[]).is_empty());
        assert!(watch.sample(pid, &[]).iter().all(|row| (0.0..=100.0).contains(&row.busy_pct)));
        assert!(resident_bytes(pid) > 0);
        assert!(watch.sample(u32::MAX, &[]).is_empty());
    }
}
