//! The reliability diagram as one self-contained SVG: how often the first cause was right, by how sure the tally was of it, beside what
//! chance alone would do to a perfectly calibrated one.

use std::fmt::Write as _;

use assent_core::consensus::calibration::Reliability;
use assent_core::ids::Millionths;

/// Left and upper edge of the square, and its side.
const LEFT: f64 = 70.0;
const TOP: f64 = 70.0;
const SIDE: f64 = 400.0;
const WIDTH: f64 = 500.0;
const HEIGHT: f64 = 540.0;

/// Draws `reliability` with a line of text below the title.
pub(super) fn draw(reliability: &Reliability, subtitle: &str) -> String {
    let mut svg = String::new();
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" \
         aria-labelledby=\"title desc\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#1a1a1a\">"
    );
    line(&mut svg, &head);
    line(&mut svg, &format!("<title id=\"title\">Reliability of {} answers</title>", reliability.answers));
    line(&mut svg, &format!("<desc id=\"desc\">{}</desc>", escaped(&described(reliability, subtitle))));
    line(&mut svg, &format!("<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>"));
    line(&mut svg, &text(LEFT, 26.0, "start", &format!("<tspan font-size=\"16\" font-weight=\"bold\">Reliability of {} answers</tspan>", reliability.answers)));
    line(&mut svg, &text(LEFT, 46.0, "start", &escaped(subtitle)));
    axes(&mut svg);
    bins(&mut svg, reliability);
    line(&mut svg, "</svg>");
    svg
}

fn axes(svg: &mut String) {
    for tenth in (0..=10_u8).step_by(2) {
        let share = f64::from(tenth) / 10.0;
        let (x, y) = (across(share), up(share));
        line(svg, &format!("<path d=\"M{x:.1} {TOP}V{:.1}M{LEFT} {y:.1}H{:.1}\" stroke=\"#e0e0e0\" fill=\"none\"/>", TOP + SIDE, LEFT + SIDE));
        line(svg, &text(x, TOP + SIDE + 18.0, "middle", &format!("{} %", u32::from(tenth) * 10)));
        line(svg, &text(LEFT - 8.0, y + 4.0, "end", &format!("{} %", u32::from(tenth) * 10)));
    }
    let (low, high) = ((across(0.0), up(0.0)), (across(1.0), up(1.0)));
    let diagonal = format!("M{:.1} {:.1}L{:.1} {:.1}", low.0, low.1, high.0, high.1);
    line(svg, &format!("<path d=\"{diagonal}\" stroke=\"#767676\" stroke-dasharray=\"4 4\" fill=\"none\"/>"));
    line(svg, &text(LEFT + SIDE / 2.0, TOP + SIDE + 40.0, "middle", "confidence of the first cause"));
    let middle = TOP + SIDE / 2.0;
    line(svg, &format!("<text x=\"20\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 20 {middle:.1})\">share that was right</text>"));
    let legend = "grey: where a perfectly calibrated tally stays in 95 % of draws; numbers: right of all";
    line(svg, &text(LEFT + SIDE / 2.0, TOP + SIDE + 60.0, "middle", &format!("<tspan font-size=\"10\">{legend}</tspan>")));
}

fn bins(svg: &mut String, reliability: &Reliability) {
    for (tenth, bin) in (0_u8..).zip(&reliability.bins).filter(|(_, bin)| bin.answers > 0) {
        let (from, to) = (across(f64::from(tenth) / 10.0), across(f64::from(tenth + 1) / 10.0));
        let (low, high) = (up(part(bin.chance.0)), up(part(bin.chance.1)));
        let band = format!("x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"", from + 2.0, high, to - from - 4.0, (low - high).max(2.0));
        line(svg, &format!("<rect {band} fill=\"#b8b8b8\" fill-opacity=\"0.6\"/>"));
        let (x, y) = (across(part(bin.confidence())), up(part(bin.accuracy())));
        line(svg, &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"#0b5cad\"/>"));
        // Below the point, where there is room for it.
        let below = if y + 20.0 < TOP + SIDE { y + 18.0 } else { y - 10.0 };
        line(svg, &text((from + to) / 2.0, below, "middle", &format!("{}/{}", bin.right, bin.answers)));
    }
}

/// The same in words.
fn described(reliability: &Reliability, subtitle: &str) -> String {
    let mut words = format!("{subtitle}.");
    for (tenth, bin) in (0_u32..).zip(&reliability.bins).filter(|(_, bin)| bin.answers > 0) {
        // Writing to a String cannot fail.
        let _ = write!(
            words,
            " From {} to {} %: {} of {} right, mean confidence {}, by chance between {} and {}.",
            tenth * 10,
            tenth * 10 + 10,
            bin.right,
            bin.answers,
            bin.confidence(),
            bin.chance.0,
            bin.chance.1
        );
    }
    words
}

fn across(share: f64) -> f64 {
    LEFT + share * SIDE
}

fn up(share: f64) -> f64 {
    TOP + SIDE - share * SIDE
}

fn part(millionths: Millionths) -> f64 {
    f64::from(millionths.get()) / 1e6
}

fn text(x: f64, y: f64, anchor: &str, content: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>")
}

fn line(svg: &mut String, content: &str) {
    svg.push_str(content);
    svg.push('\n');
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use assent_core::consensus::calibration::reliability;

    use super::*;

    #[test]
    fn a_diagram_says_in_words_what_it_shows_and_closes_what_it_opens() {
        let outcomes: Vec<(Millionths, bool)> = (0..20).map(|n| (Millionths::new(850_000), n != 0)).collect();
        let svg = draw(&reliability(&outcomes), "of <folder> & others");
        assert!(svg.contains("19 of 20 right") && svg.contains(">19/20<"), "{svg}");
        assert!(svg.contains("of &lt;folder&gt; &amp; others") && !svg.contains("<folder>"));
        assert_eq!(svg.matches("<circle").count(), 1);
        for element in ["svg", "title", "desc", "text", "tspan"] {
            let opened = svg.matches(&format!("<{element}")).count();
            assert_eq!(opened, svg.matches(&format!("</{element}>")).count(), "{element}");
        }
    }

    #[test]
    fn no_answers_are_an_empty_diagram() {
        let svg = draw(&Reliability::default(), "nothing");
        assert!(svg.contains("Reliability of 0 answers") && !svg.contains("<circle"));
    }
}
