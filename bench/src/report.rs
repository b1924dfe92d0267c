//! What a run came to: lines for people, one JSON object for programs, one line of history.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};

/// The figures of a run, in the order in which they are told.
#[derive(Debug)]
pub struct Report {
    scenario: String,
    server: String,
    figures: Vec<Figure>,
    remarks: Vec<String>,
    bounds: Vec<(String, bool)>,
}

#[derive(Debug)]
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
}

impl Report {
    /// A report about this scenario with that server.
    #[must_use]
    pub fn new(scenario: impl Into<String>, server: impl Into<String>) -> Self {
        Self {
            scenario: scenario.into(),
            server: server.into(),
            figures: Vec::new(),
            remarks: Vec::new(),
            bounds: Vec::new(),
        }
    }

    /// Adds a figure. Its name is a key of the JSON object.
    pub fn figure(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.figures.push(Figure { name, value, unit });
    }

    /// Adds a sentence on how the figures are to be taken.
    pub fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }

    /// Adds a bound with what was found, and whether it holds.
    pub fn bound(&mut self, bound: impl Into<String>, holds: bool) {
        self.bounds.push((bound.into(), holds));
    }

    /// Whether all bounds hold.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.bounds.iter().all(|(_, holds)| *holds)
    }

    /// The report as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}, {}\n", self.scenario, self.server);
        for Figure { name, value, unit } in &self.figures {
            let places = if value.fract() == 0.0 || value.abs() >= 1_000.0 { 0 } else { 2 };
            text.push_str(&format!("  {name:32} {value:>14.places$} {unit}\n"));
        }
        for remark in &self.remarks {
            text.push_str(&format!("  ! {remark}\n"));
        }
        for (bound, holds) in &self.bounds {
            let verdict = if *holds { "PASS" } else { "FAIL" };
            text.push_str(&format!("  {verdict} {bound}\n"));
        }
        text
    }

    /// The report as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let figures = self.figures.iter().map(|f| (f.name.to_owned(), json!(f.value)));
        let bounds =
            self.bounds.iter().map(|(bound, holds)| json!({"bound": bound, "holds": holds}));
        json!({
            "scenario": self.scenario,
            "server": self.server,
            "figures": figures.collect::<Map<_, _>>(),
            "remarks": self.remarks,
            "bounds": bounds.collect::<Vec<_>>(),
        })
    }

    /// Appends the figures to a table: date, commit, server, scenario, name, value.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append(&self, history: &Path, date: &str, commit: &str) -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(history)?;
        let (scenario, server) = (&self.scenario, &self.server);
        for Figure { name, value, .. } in &self.figures {
            writeln!(file, "{date}\t{commit}\t{server}\t{scenario}\t{name}\t{value:.3}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_figures_are_told_to_people_programs_and_history() {
        let mut report = Report::new("chat", "stentor");
        report.figure("deliveries_per_sec", 51_234.5, "/s");
        report.figure("lost", 0.0, "");
        report.remark("The generator was the bottleneck.");
        report.bound("memory grew by 3 MiB: at most 4 MiB", true);
        assert!(report.holds());
        report.bound("all came: all", false);
        assert!(!report.holds());
        let text = report.text();
        assert!(text.contains("deliveries_per_sec") && text.contains(" 51234"), "{text}");
        assert!(text.contains("PASS memory") && text.contains("FAIL all came"), "{text}");
        assert_eq!(report.json()["bounds"][1]["holds"], false);
        assert_eq!(report.json()["figures"]["deliveries_per_sec"], 51_234.5);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.tsv");
        report.append(&path, "2026-01-01", "abc").unwrap();
        report.append(&path, "2026-01-02", "abd").unwrap();
        let history = std::fs::read_to_string(path).unwrap();
        assert_eq!(history.lines().count(), 4);
        assert!(history.ends_with("2026-01-02\tabd\tstentor\tchat\tlost\t0.000\n"), "{history}");
    }
}
