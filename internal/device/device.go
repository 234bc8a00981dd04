// Package device names a user's devices, for the user to recognize: the browser and
// the system by the User-Agent of a request, and a shortened address. It keeps no
// more of them than that.
package device

import (
	"net/netip"
	"strings"
)

// mostRead is how much of a User-Agent is read: those of browsers are shorter.
const mostRead = 512

// name is the name of a browser or system, and the mark of it in a User-Agent.
type name struct{ mark, called string }

// browsers are in the order in which to look for them: nearly all say that they are
// others, too, and the more special names come first.
var browsers = []name{
	{"EdgA/", "Edge"},
	{"EdgiOS/", "Edge"},
	{"Edg/", "Edge"},
	{"OPR/", "Opera"},
	{"OPT/", "Opera"},
	{"SamsungBrowser/", "Samsung Internet"},
	{"Vivaldi/", "Vivaldi"},
	{"YaBrowser/", "Yandex Browser"},
	{"DuckDuckGo/", "DuckDuckGo"},
	{"Ddg/", "DuckDuckGo"},
	{"FxiOS/", "Firefox"},
	{"Firefox/", "Firefox"},
	{"CriOS/", "Chrome"},
	{"HeadlessChrome/", "Chrome"},
	{"Chromium/", "Chromium"},
	{"Chrome/", "Chrome"},
	{"Epiphany/", "GNOME Web"},
	{"MSIE ", "Internet Explorer"},
	{"Trident/", "Internet Explorer"},
	{"Safari/", "Safari"},
	{"AppleWebKit/", "Safari"}, // within an app of iOS
}

// programs are other clients that begin a session, by how their User-Agent begins.
var programs = []name{
	{"curl/", "curl"},
	{"Wget/", "Wget"},
	{"python-requests/", "Python"},
	{"Python-urllib/", "Python"},
	{"python-httpx/", "Python"},
	{"Go-http-client/", "Go"},
	{"okhttp/", "OkHttp"},
	{"PostmanRuntime/", "Postman"},
}

// platforms are in the order in which to look for them.
var platforms = []name{
	{"Windows Phone", "Windows Phone"},
	{"Windows", "Windows"},
	{"CrOS", "ChromeOS"},
	{"Android", "Android"},
	{"iPhone", "iPhone"},
	{"iPad", "iPad"},
	{"iPod", "iPod"},
	{"KAIOS", "KaiOS"},
	{"Macintosh", "macOS"},
	{"Mac OS X", "macOS"},
	{"FreeBSD", "FreeBSD"},
	{"OpenBSD", "OpenBSD"},
	{"Linux", "Linux"},
}

// Browser returns the name of the browser that has a User-Agent, or an empty text if
// it isn't known. Versions are left out: they change every few weeks, and don't help
// to recognize a device.
func Browser(agent string) string {
	agent = agent[:min(len(agent), mostRead)]
	for _, program := range programs {
		if strings.HasPrefix(agent, program.mark) {
			return program.called
		}
	}
	if !strings.HasPrefix(agent, "Mozilla/") && !strings.HasPrefix(agent, "Opera/") {
		return ""
	}
	return find(browsers, agent)
}

// Platform returns the name of the system that the browser with a User-Agent runs
// on, or an empty text if it isn't known.
func Platform(agent string) string { return find(platforms, agent[:min(len(agent), mostRead)]) }

// find returns the name of the first mark in a text.
func find(names []name, text string) string {
	for _, n := range names {
		if strings.Contains(text, n.mark) {
			return n.called
		}
	}
	return ""
}

// The bits that are kept of an address: as many as tell a network from others, and
// not the device in it.
const (
	keptOfIPv4 = 24
	keptOfIPv6 = 48
)

// Network returns the network that a client's address is in, as 192.0.2.0/24 or
// 2001:db8::/48, or an empty text if the text is no address.
func Network(client string) string {
	addr, err := netip.ParseAddr(client)
	if err != nil {
		return ""
	}
	addr = addr.Unmap().WithZone("")
	bits := keptOfIPv6
	if addr.Is4() {
		bits = keptOfIPv4
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return "" // unreachable: both sorts of addresses have more bits
	}
	return prefix.String()
}
