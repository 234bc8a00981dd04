package procfs

import (
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	const rest = " S 1 4242 4242 0 -1 4194560 1000 0 3 0 250 125 0 0 20 0 9 0 100 1000000 500 18446744073709551615\n"
	for _, name := range []string{"(caddy)", "(a b)", "(odd) S 9 (name))", "()"} {
		got, err := parseStat("4242 " + name + rest)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := (stat{parent: 1, cpu: 3750 * time.Millisecond}); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	for _, text := range []string{"", "4242", "4242 (caddy) S 1 2 3", "4242 (caddy) S x 2 3 4 5 6 7 8 9 10 11 12 13 14"} {
		if got, err := parseStat(text); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	t.Parallel()
	got, err := parseStatus("Name:\tcaddy\nVmPeak:\t 1290000 kB\nVmHWM:\t   60000 kB\nVmRSS:\t   51234 kB\nThreads:\t9\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := (Memory{Resident: 51234 << 10, Peak: 60000 << 10}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, text := range []string{"", "VmRSS:\t5 kB\n", "VmHWM:\t6 kB\nVmRSS:\t5 MB\n", "VmHWM:\tx kB\n"} {
		if got, err := parseStatus(text); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}

func TestParseTCP(t *testing.T) {
	t.Parallel()
	const heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	const text = heading +
		"   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1 0 100 0 0 10 0\n" +
		"   1: 0100007F:9C40 0100007F:0CEA 01 00000000:00000000 00:00000000 00000000  1000        0 222 1 0 20 4 30 10 -1\n" +
		"   2: 0100007F:0CEA 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000        0 333 1 0 20 4 30 10 -1\n"
	got, err := parseTCP(text, 3306)
	if err != nil || len(got) != 1 || !got["socket:[222]"] {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := parseTCP(heading, 3306); err != nil || len(got) != 0 {
		t.Errorf("no connection was read as %v, %v", got, err)
	}
	if got, err := parseTCP(heading+"0: 1", 3306); err == nil {
		t.Errorf("a line cut short was read as %v", got)
	}
}
