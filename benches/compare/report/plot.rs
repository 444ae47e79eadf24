//! Plots as SVG that is read on a light and on a dark background.

use std::fmt::Write as _;

const LEFT: f64 = 190.0;
const WIDTH: f64 = 560.0;
const ROW: f64 = 24.0;
const TOP: f64 = 64.0;

/// A color and a mark for each series, told apart without color, too.
const SERIES: [(&str, &str); 7] = [
    ("#0b6bcb", "circle"),
    ("#c2410c", "square"),
    ("#15803d", "triangle"),
    ("#9333ea", "diamond"),
    ("#b45309", "cross"),
    ("#64748b", "ring"),
    ("#be185d", "bar"),
];

/// For each row a value of each proxy, on a logarithmic scale around 1.
pub(crate) struct Dots {
    pub(crate) title: String,
    pub(crate) rows: Vec<(String, Vec<(&'static str, f64)>)>,
}

/// Values over something that grows, on logarithmic scales.
pub(crate) struct Lines {
    pub(crate) title: String,
    /// For each line its name and its points.
    pub(crate) lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// One row for each scenario, one mark for each proxy.
pub(crate) fn dots(dots: &Dots) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in dots.rows.iter().flat_map(|(_, values)| values) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let values = || dots.rows.iter().flat_map(|(_, values)| values.iter().map(|(_, value)| *value));
    let low = values().fold(0.5, f64::min).log2().floor();
    let high = values().fold(2.0, f64::max).log2().ceil();
    let x = |value: f64| LEFT + WIDTH * (value.log2() - low) / (high - low);
    let bottom = TOP + ROW * dots.rows.len() as f64;
    let mut svg = begin(&dots.title, bottom + 30.0);
    legend(&mut svg, &names);
    let mut power = low;
    while power <= high {
        let (at, value) = (x(power.exp2()), power.exp2());
        grid(&mut svg, at, TOP - 6.0, at, bottom, power == 0.0);
        let _ = write!(svg, r#"<text x="{at:.1}" y="{:.1}" text-anchor="middle">x {value}</text>"#, bottom + 18.0);
        power += 1.0;
    }
    for (row, (name, values)) in dots.rows.iter().enumerate() {
        let y = TOP + ROW * (row as f64 + 0.5);
        let _ = write!(svg, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{name}</text>"#, LEFT - 12.0, y + 4.0);
        for (name, value) in values {
            let series = names.iter().position(|known| known == name).unwrap_or_default();
            mark(&mut svg, series, x(*value), y);
        }
    }
    svg + "</svg>\n"
}

/// One line for each thing that grows.
pub(crate) fn lines(lines: &Lines) -> String {
    let points = || lines.lines.iter().flat_map(|(_, points)| points);
    let most = points().map(|(x, _)| *x).fold(10.0, f64::max).log10().ceil();
    let top = points().map(|(_, y)| *y).fold(1.2, f64::max) * 1.1;
    let bottom = TOP + 240.0;
    let x = |value: f64| LEFT + WIDTH * value.log10() / most;
    let y = |value: f64| bottom - (bottom - TOP) * value / top;
    let mut svg = begin(&lines.title, bottom + 30.0);
    legend(&mut svg, &lines.lines.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
    for power in 0..=most as i32 {
        let at = x(10_f64.powi(power));
        grid(&mut svg, at, TOP, at, bottom, false);
        let _ = write!(
            svg,
            r#"<text x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            bottom + 18.0,
            10_u64.pow(power.unsigned_abs())
        );
    }
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        grid(&mut svg, LEFT, y(value), LEFT + WIDTH, y(value), false);
        let _ =
            write!(svg, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{value:.1}</text>"#, LEFT - 8.0, y(value) + 4.0);
    }
    for (series, (_, points)) in lines.lines.iter().enumerate() {
        let path: Vec<String> = points.iter().map(|(px, py)| format!("{:.1},{:.1}", x(*px), y(*py))).collect();
        let color = SERIES[series % SERIES.len()].0;
        let _ = write!(svg, r#"<polyline points="{}" fill="none" stroke="{color}" stroke-width="2"/>"#, path.join(" "));
        for (px, py) in points {
            mark(&mut svg, series, x(*px), y(*py));
        }
    }
    svg + "</svg>\n"
}

fn begin(title: &str, height: f64) -> String {
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {:.0} {height:.0}" role="img" aria-label="{title}"><style>text{{font:13px system-ui,sans-serif;fill:#64748b}}.title{{font-weight:600;font-size:15px}}.grid{{stroke:#94a3b8;stroke-opacity:.35}}.one{{stroke:#64748b;stroke-width:2}}</style><text class="title" x="12" y="22">{title}</text>"##,
        LEFT + WIDTH + 40.0
    )
}

fn legend(svg: &mut String, names: &[&str]) {
    let mut x = 16.0;
    for (series, name) in names.iter().enumerate() {
        mark(svg, series, x, 42.0);
        let _ = write!(svg, r#"<text x="{:.1}" y="46">{name}</text>"#, x + 10.0);
        x += 34.0 + 7.5 * name.chars().count() as f64;
    }
}

fn grid(svg: &mut String, x1: f64, y1: f64, x2: f64, y2: f64, strong: bool) {
    let class = if strong { "one" } else { "grid" };
    let _ = write!(svg, r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#);
}

fn mark(svg: &mut String, series: usize, x: f64, y: f64) {
    let (color, shape) = SERIES[series % SERIES.len()];
    let _ = match shape {
        "square" => write!(svg, r#"<rect x="{:.1}" y="{:.1}" width="9" height="9" fill="{color}"/>"#, x - 4.5, y - 4.5),
        "triangle" => {
            let points = format!("{x:.1},{:.1} {:.1},{:.1} {:.1},{:.1}", y - 5.5, x - 5.5, y + 4.5, x + 5.5, y + 4.5);
            write!(svg, r#"<polygon points="{points}" fill="{color}"/>"#)
        }
        "diamond" => {
            let points =
                format!("{x:.1},{:.1} {:.1},{y:.1} {x:.1},{:.1} {:.1},{y:.1}", y - 6.0, x + 6.0, y + 6.0, x - 6.0);
            write!(svg, r#"<polygon points="{points}" fill="{color}"/>"#)
        }
        "cross" => {
            let (a, b, c, d) = (x - 4.5, y - 4.5, x + 4.5, y + 4.5);
            write!(
                svg,
                r#"<path d="M{a:.1} {b:.1}L{c:.1} {d:.1}M{a:.1} {d:.1}L{c:.1} {b:.1}" stroke="{color}" stroke-width="3"/>"#
            )
        }
        "ring" => {
            write!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="4.5" fill="none" stroke="{color}" stroke-width="2.5"/>"#)
        }
        "bar" => write!(svg, r#"<rect x="{:.1}" y="{:.1}" width="4" height="13" fill="{color}"/>"#, x - 2.0, y - 6.5),
        _ => write!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="5.5" fill="{color}"/>"#),
    };
}
