package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"strconv"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

//go:embed style.css
var builtInStyle string

// setStyle writes the operator's colors into the style sheet, and a policy
// that allows this style sheet and nothing else.
func (p *Pages) setStyle() error {
	var light, dark strings.Builder
	for _, name := range []string{"accent", "background", "text"} {
		colors := p.config.Colors[name]
		if len(colors) > 2 {
			return setting.Errorf("color "+name, "color %s: a light and a dark one are enough; write one as #0a7f5a or teal, without spaces", name)
		}
		for _, color := range colors {
			if !strings.HasPrefix(color, "#") && isColor("#"+color) && !isColorName(color) {
				return setting.Errorf("color "+name, "color %s: %q lacks its #: write \"#%[2]s\", in quotes", name, color)
			}
			if near := nearest.Name(color, colorNames); isColor(color) && !strings.HasPrefix(color, "#") && !isColorName(color) {
				if near != "" {
					near = "; did you mean " + near + "?"
				}
				return setting.Errorf("color "+name, "color %s: %q is not a color name of CSS%s", name, color, near)
			}
			if !isColor(color) {
				return setting.Errorf("color "+name, "color %s: %q is not a color such as #0a7f5a or teal", name, color)
			}
		}
		if len(colors) > 0 {
			fmt.Fprintf(&light, "--%s: %s; ", name, colors[0])
			fmt.Fprintf(&dark, "--%s: %s; ", name, colors[len(colors)-1])
		}
	}
	for name := range p.config.Colors {
		if name != "accent" && name != "background" && name != "text" {
			return setting.Errorf("color "+name, "color %s: it must be accent, background or text", name)
		}
	}
	style := builtInStyle
	if light.Len() > 0 {
		style += fmt.Sprintf(":root { %s}\n@media (prefers-color-scheme: dark) { :root { %s} }\n", light.String(), dark.String())
	}
	p.style = template.CSS(style) //nolint:gosec // ours, and colours that isColor has checked
	hash := sha256.Sum256([]byte(style))
	// No form-action: browsers apply it to the redirects that follow a form as well
	// (Chromium does, https://github.com/w3c/webappsec-csp/issues/8), and the page that
	// a login leads to may redirect to another site, as OAuth's do.
	p.policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
		"'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
	return nil
}

// isColor reports whether s is a colour's name or its hexadecimal form.
func isColor(s string) bool {
	digits, isHexadecimal := strings.CutPrefix(s, "#")
	if isHexadecimal {
		_, err := strconv.ParseUint(digits, 16, 32)
		return err == nil && (len(digits) == 3 || len(digits) == 6)
	}
	isOther := func(c rune) bool { return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') }
	return s != "" && !strings.ContainsFunc(s, isOther)
}
