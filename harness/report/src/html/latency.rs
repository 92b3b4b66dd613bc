//! Latency by operation: baseline, fault and heal over each other, and the figures.

use std::collections::BTreeMap;
use std::error::Error;

use plotters::prelude::*;

use super::{Page, duration, escape};
use crate::model::{Arm, LatencySeries, Phase, Report};
use crate::text::one_line;

/// Size of a plot, in its own units.
const SIZE: (u32, u32) = (760, 280);
const FONT: &str = "system-ui, sans-serif";

pub(super) fn section(out: &mut Page, report: &Report) {
    out.open("latency", "Latency");
    if report.latency.is_empty() {
        out.line("<p>Not measured.</p>");
    }
    let mut by_op: BTreeMap<(&str, Arm), Vec<&LatencySeries>> = BTreeMap::new();
    for series in &report.latency {
        by_op
            .entry((&series.op, series.arm))
            .or_default()
            .push(series);
    }
    for ((op, arm), series) in &by_op {
        let virtual_time = if *arm == Arm::Sim {
            ", virtual time"
        } else {
            ""
        };
        out.line(format_args!(
            "<figure>\n<figcaption>{} ({}{virtual_time}): share of the calls that took at most so long</figcaption>",
            escape(op),
            arm.as_str()
        ));
        // A plot that cannot be drawn costs the page nothing else: the figures stand below.
        if let Ok(drawing) = plot(series) {
            out.line(format_args!("<div class=\"wide\">{drawing}</div>"));
        }
        out.line("</figure>");
    }
    out.table(
        &[
            "Operation",
            "Phase",
            "Outcome",
            "Count",
            "p50",
            "p90",
            "p99",
            "p999",
            "Longest",
            "Measured from",
        ],
        report.latency.iter().map(|series| {
            let from = if series.corrected {
                "the intended start"
            } else {
                "the start"
            };
            let times = [series.p50, series.p90, series.p99, series.p999, series.max];
            let mut row = vec![
                escape(&series.op),
                series.phase.as_str().to_owned(),
                escape(&series.outcome),
                series.count.to_string(),
            ];
            row.extend(times.map(duration));
            row.push(from.to_owned());
            row
        }),
    );
    out.close();
}

fn color(phase: Phase) -> RGBColor {
    match phase {
        Phase::Baseline => RGBColor(9, 105, 218),
        Phase::Fault => RGBColor(207, 34, 46),
        Phase::Heal => RGBColor(26, 127, 55),
    }
}

/// The curves of one operation as SVG, over a logarithmic axis of time.
fn plot(all: &[&LatencySeries]) -> Result<String, Box<dyn Error>> {
    let least = all
        .iter()
        .map(|series| series.min)
        .min()
        .unwrap_or(1)
        .max(1) as f64;
    let most = all.iter().map(|series| series.max).max().unwrap_or(1) as f64;
    let range = least / 1.1..most.max(least * 2.0) * 1.1;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(44)
            .build_cartesian_2d(range.log_scale(), 0.0..100.0)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 228, 232))
            .axis_style(RGBColor(140, 149, 159))
            .label_style((FONT, 12))
            .x_labels(8)
            .x_label_formatter(&|ns| duration(*ns as u64))
            .y_labels(5)
            .y_label_formatter(&|share| format!("{share:.0} %"))
            .draw()?;
        for series in all {
            // what failed is fainter
            let strength = if series.outcome == "ok" { 1.0 } else { 0.4 };
            let style = color(series.phase).mix(strength).stroke_width(2);
            let name = format!("{}, {}", series.phase.as_str(), one_line(&series.outcome));
            chart
                .draw_series(LineSeries::new(points(series), style))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .label_font((FONT, 12))
            .draw()?;
        root.present()?;
    }
    Ok(svg)
}

/// Time and share, stepwise from bucket to bucket.
fn points(series: &LatencySeries) -> Vec<(f64, f64)> {
    let mut points = vec![(series.min.max(1) as f64, 0.0)];
    let mut seen = 0;
    for (bound, count) in &series.buckets {
        seen += count;
        let share = seen as f64 / series.count.max(1) as f64;
        points.push(((*bound).min(series.max).max(1) as f64, 100.0 * share));
    }
    points
}
