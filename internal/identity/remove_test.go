package identity

import (
	"maps"
	"net/http"
	"testing"
)

// BenchmarkRemoveIdentity measures the work on the header of every request,
// which mostly has none of the gateway's fields.
func BenchmarkRemoveIdentity(b *testing.B) {
	id, err := New(nil, Columns{})
	if err != nil {
		b.Fatal(err)
	}
	usual := http.Header{
		"User-Agent":      {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		"Accept":          {"text/html,application/xhtml+xml"},
		"Accept-Encoding": {"gzip, deflate, br"},
		"Accept-Language": {"en"},
		"Authorization":   {"Bearer AAAAAgz5DrGVMp5-BDEDrWqb"},
		"Cookie":          {"csrftoken=0123456789abcdef"},
		"Connection":      {"keep-alive"},
	}
	forged := maps.Clone(usual)
	forged["Remote_User"] = []string{"admin"}
	forged["Connection"] = []string{"keep-alive, Remote-User"}
	for _, bench := range []struct {
		name   string
		header http.Header
	}{{"usual", usual}, {"forged", forged}} {
		b.Run("header="+bench.name, func(b *testing.B) {
			b.ReportAllocs()
			r := new(http.Request)
			for b.Loop() {
				r.Header = bench.header
				if bench.name == "forged" {
					r.Header = maps.Clone(bench.header)
				}
				id.Remove(r)
			}
		})
	}
}
