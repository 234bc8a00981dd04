package report

import (
	"fmt"
	"html"
	"math"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/stats"
)

// chart is a picture of horizontal bars, in groups.
type chart struct {
	title, subtitle string
	series          []string // what the bars of each group stand for
	groups          []group
	tick            func(float64) string // what an axis says at a value
}

// group is the bars of one peer.
type group struct {
	name, note string
	ours       bool // drawn in the stronger colour
	bars       []bar
}

// bar is a median, from which a line reaches from the least to the greatest.
type bar struct {
	stats.Spread
	label string
}

// Where things are, in pixels.
const (
	chartWidth  = 900
	barsLeft    = 250
	barsRight   = 780 // labels are beyond
	barsTop     = 96
	barHeight   = 13
	barGap      = 4
	groupGap    = 20
	chartBottom = 40
)

// chartStyle is for pages in light and in dark.
const chartStyle = `
    .page { fill: #ffffff; stroke: #d0d7de; }
    text { fill: #1f2328; font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
    .title { font-size: 17px; font-weight: 600; }
    .name { font-weight: 600; }
    .small { fill: #57606a; font-size: 12px; }
    .end { text-anchor: end; }
    .middle { text-anchor: middle; }
    .grid { stroke: #d8dee4; stroke-width: 1; }
    .spread { stroke: #1f2328; stroke-width: 1.5; }
    .theirs { fill: #8c959f; }
    .ours { fill: #2f6fc4; }
    .s1 { opacity: 0.8; }
    .s2 { opacity: 0.6; }
    .s3 { opacity: 0.42; }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117; stroke: #30363d; }
      text { fill: #e6edf3; }
      .small { fill: #a2abb5; }
      .grid { stroke: #262c36; }
      .spread { stroke: #e6edf3; }
      .theirs { fill: #7d8590; }
      .ours { fill: #6ca4f0; }
    }
  `

// svg draws the chart.
func (c *chart) svg() string {
	var b strings.Builder
	height := c.height()
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title description">
  <title id="title">%s</title>
  <desc id="description">%s</desc>
  <style>%s</style>
  <rect class="page" x="0.5" y="0.5" width="%d" height="%d" rx="10"/>
  <text class="title" x="24" y="34">%s</text>
  <text class="small" x="24" y="55">%s</text>
`, chartWidth, height, chartWidth, height, html.EscapeString(c.title), html.EscapeString(c.describe()), chartStyle,
		chartWidth-1, height-1, html.EscapeString(c.title), html.EscapeString(c.subtitle))
	c.drawLegend(&b)
	scale := c.drawGrid(&b, height)
	y := barsTop
	for _, g := range c.groups {
		c.drawGroup(&b, g, y, scale)
		y += g.height() + groupGap
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (g group) height() int {
	// A name and a note need the room of two bars.
	return max(len(g.bars)*(barHeight+barGap), 36)
}

func (c *chart) height() int {
	height := barsTop + chartBottom - groupGap
	for _, g := range c.groups {
		height += g.height() + groupGap
	}
	return height
}

// describe says what the chart shows, for readers who can't see it.
func (c *chart) describe() string {
	var parts []string
	for _, g := range c.groups {
		var values []string
		for i, bar := range g.bars {
			if bar.N > 0 {
				values = append(values, c.series[i]+" "+bar.label)
			}
		}
		parts = append(parts, g.name+": "+strings.Join(values, ", "))
	}
	return c.subtitle + " " + strings.Join(parts, "; ") + "."
}

// drawLegend says which bar is which, above the bars.
func (c *chart) drawLegend(b *strings.Builder) {
	x := barsLeft
	for i, name := range c.series {
		fmt.Fprintf(b, `  <rect class="ours s%d" x="%d" y="70" width="13" height="11" rx="2"/><text class="small" x="%d" y="80">%s</text>`+"\n",
			i, x, x+18, html.EscapeString(name))
		x += 18 + 7*len(name) + 24
	}
}

// drawGrid draws the axis, and returns how many pixels a unit has.
func (c *chart) drawGrid(b *strings.Builder, height int) float64 {
	greatest := 0.0
	for _, g := range c.groups {
		for _, bar := range g.bars {
			greatest = max(greatest, bar.Max)
		}
	}
	if greatest == 0 {
		greatest = 1
	}
	step := niceStep(greatest / 5)
	scale := (barsRight - barsLeft) / greatest
	for i := 0; float64(i)*step <= greatest*1.0001; i++ {
		x := barsLeft + float64(i)*step*scale
		fmt.Fprintf(b, `  <line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text class="small middle" x="%.1f" y="%d">%s</text>`+"\n",
			x, barsTop-6, x, height-chartBottom+4, x, height-chartBottom+22, html.EscapeString(c.tick(float64(i)*step)))
	}
	return scale
}

// niceStep is the least of 1, 2, 2.5, 5 and their tenfold, tenth and so on that
// is not below a value.
func niceStep(least float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, nice := range []float64{1, 2, 2.5, 5} {
		if nice*power >= least*0.9999 {
			return nice * power
		}
	}
	return 10 * power
}

func (c *chart) drawGroup(b *strings.Builder, g group, y int, scale float64) {
	middle := y + g.height()/2
	if g.note == "" {
		fmt.Fprintf(b, `  <text class="name end" x="%d" y="%d">%s</text>`+"\n", barsLeft-14, middle+3, html.EscapeString(g.name))
	} else {
		fmt.Fprintf(b, `  <text class="name end" x="%d" y="%d">%s</text><text class="small end" x="%d" y="%d">%s</text>`+"\n",
			barsLeft-14, middle-4, html.EscapeString(g.name), barsLeft-14, middle+13, html.EscapeString(g.note))
	}
	side := "theirs"
	if g.ours {
		side = "ours"
	}
	top := middle - len(g.bars)*(barHeight+barGap)/2
	for i, bar := range g.bars {
		if bar.N == 0 {
			continue
		}
		at := top + i*(barHeight+barGap)
		center := float64(at) + barHeight/2.0
		fmt.Fprintf(b, `  <rect class="%s s%d" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`+"\n",
			side, i, barsLeft, at, max(bar.Median*scale, 1), barHeight)
		if bar.N > 1 {
			fmt.Fprintf(b, `  <line class="spread" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n",
				barsLeft+bar.Min*scale, center, barsLeft+bar.Max*scale, center)
		}
		fmt.Fprintf(b, `  <text class="small" x="%.1f" y="%.1f">%s</text>`+"\n",
			barsLeft+bar.Max*scale+8, center+4.5, html.EscapeString(bar.label))
	}
}
