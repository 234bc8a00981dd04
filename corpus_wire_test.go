package sesame_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// received is what a client gets for a request and for the canary behind it.
type received struct {
	statuses []int // of the answers to the request; several where it is several
	canary   int   // the status of the answer to the canary, or statusClosed
	body     string
	raw      []byte // all that came, header fields included
}

// sendHTTP1 writes a request and a canary to a connection at once, and reads
// the answers. An answer whose header says so is the canary's.
func sendHTTP1(t *testing.T, addr, request, canary string) received {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		// A server that refuses the request may close before it has read it.
		_, err := io.WriteString(conn, request+canary)
		written <- err
	}()
	var got received
	var raw bytes.Buffer
	from := bufio.NewReader(io.TeeReader(conn, &raw))
	method, _, _ := strings.Cut(request, " ")
	for {
		if start, err := from.Peek(len("HTTP/")); err == nil && string(start) != "HTTP/" {
			// Frames of HTTP/2: there is no line to wait for, and the server closes
			// a second after it has said that it will.
			readUntilGoAway(from)
			break
		}
		answer, err := http.ReadResponse(from, &http.Request{Method: method})
		if err != nil {
			break
		}
		body, err := io.ReadAll(answer.Body)
		switch {
		case answer.StatusCode == http.StatusContinue:
			continue
		case answer.Header.Get(canaryField) != "":
			got.canary, got.body = answer.StatusCode, string(body)
		default:
			got.statuses = append(got.statuses, answer.StatusCode)
		}
		method = ""
		if err != nil || answer.Close || canary == "" || answer.StatusCode == http.StatusSwitchingProtocols {
			break
		}
	}
	_ = conn.Close()
	<-written
	got.raw = raw.Bytes()
	return got
}

// readUntilGoAway reads frames of HTTP/2 until the server ends the connection.
func readUntilGoAway(from io.Reader) {
	framer := http2.NewFramer(io.Discard, from)
	for {
		frame, err := framer.ReadFrame()
		if _, isGoAway := frame.(*http2.GoAwayFrame); err != nil || isGoAway {
			return
		}
	}
}

// fieldsRequest is a request of HTTP/2 and HTTP/3, as fields.
type fieldsRequest struct {
	fields, trailers [][2]string
	body             string

	continuation int // the size of the pieces that HTTP/2 has the fields in
	padding      int // of HTTP/2's frames
}

// parseFieldsRequest parses a request of a .fields file: a field a line, an
// empty line, the body, and behind a line @trailers further fields. Lines that
// begin with @ say how HTTP/2 frames it.
func parseFieldsRequest(text string, values map[string]string) (fieldsRequest, error) {
	var r fieldsRequest
	text, trailers, hasTrailers := strings.Cut(text, "\n@trailers\n")
	head, body, _ := strings.Cut(strings.TrimSuffix(text, "\n")+"\n", "\n\n")
	for _, part := range []struct {
		lines string
		to    *[][2]string
	}{{head, &r.fields}, {trailers, &r.trailers}} {
		for line := range strings.SplitSeq(strings.TrimSpace(part.lines), "\n") {
			if line == "" {
				continue
			}
			if setting, ok := strings.CutPrefix(line, "@"); ok {
				if err := r.set(setting); err != nil {
					return r, err
				}
				continue
			}
			// A pseudo-header field begins with a colon.
			end := strings.Index(line[1:], ":") + 1
			if end == 0 {
				return r, fmt.Errorf("%q has no colon", line)
			}
			name, err := expandCorpusText(line[:end], values)
			if err != nil {
				return r, err
			}
			value, err := expandCorpusText(strings.TrimPrefix(line[end+1:], " "), values)
			if err != nil {
				return r, err
			}
			*part.to = append(*part.to, [2]string{name, value})
		}
	}
	var err error
	if r.body, err = expandCorpusText(strings.TrimSuffix(body, "\n"), values); err != nil {
		return r, err
	}
	if hasTrailers && len(r.trailers) == 0 {
		return r, errors.New("@trailers without any")
	}
	return r, nil
}

func (r *fieldsRequest) set(setting string) error {
	name, value, _ := strings.Cut(setting, " ")
	n, err := strconv.Atoi(value)
	switch {
	case err != nil:
		return fmt.Errorf("@%s: %w", setting, err)
	case name == "continuation":
		r.continuation = n
	case name == "padding":
		r.padding = n
	default:
		return fmt.Errorf("unknown @%s", name)
	}
	return nil
}

// sendHTTP2 sends a request, and a canary on the same connection.
func sendHTTP2(t *testing.T, addr string, request, canary fieldsRequest) (answer received) {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", addr, &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{"h2"}, ServerName: "app.example.com",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	framer.AllowIllegalWrites = true
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	fields := newFieldEncoder()
	const requestStream, canaryStream = 1, 3
	// The server may end the connection in the middle of it.
	_ = writeHTTP2(framer, fields, requestStream, request)
	_ = writeHTTP2(framer, fields, canaryStream, canary)

	got := received{statuses: []int{statusClosed}}
	answered := false // the canary, to the end
	defer func() {
		// A connection that is closed may end an answer before its body.
		if !answered && answer.body == "" {
			answer.canary = statusClosed
		}
	}()
	for open := 2; open > 0; {
		frame, err := framer.ReadFrame()
		if err != nil {
			return got // the connection was closed
		}
		id := frame.Header().StreamID
		ended := false
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			ended = frame.StreamEnded()
			for _, field := range frame.Fields {
				got.raw = append(got.raw, field.Name+": "+field.Value+"\n"...)
			}
			status, _ := strconv.Atoi(frame.PseudoValue("status"))
			switch {
			case status == 0 || status == http.StatusContinue:
			case id == requestStream:
				got.statuses[0] = status
			case id == canaryStream:
				got.canary = status
			}
		case *http2.DataFrame:
			ended = frame.StreamEnded()
			got.raw = append(got.raw, frame.Data()...)
			if id == canaryStream {
				got.body += string(frame.Data())
			}
		case *http2.RSTStreamFrame:
			ended = true
		case *http2.GoAwayFrame:
			return got
		}
		answered = answered || ended && id == canaryStream
		if ended && (id == requestStream || id == canaryStream) {
			open--
		}
	}
	return got
}

// fieldEncoder is HPACK's, which remembers fields from one request to the next.
type fieldEncoder struct {
	block   bytes.Buffer
	encoder *hpack.Encoder
}

func newFieldEncoder() *fieldEncoder {
	e := new(fieldEncoder)
	e.encoder = hpack.NewEncoder(&e.block)
	return e
}

func (e *fieldEncoder) encode(fields [][2]string) []byte {
	e.block.Reset()
	for _, field := range fields {
		_ = e.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // to memory
	}
	return bytes.Clone(e.block.Bytes())
}

func writeHTTP2(framer *http2.Framer, fields *fieldEncoder, stream uint32, r fieldsRequest) error {
	block := fields.encode(r.fields)
	first, rest := block, []byte(nil)
	if r.continuation > 0 && len(block) > r.continuation {
		first, rest = block[:r.continuation], block[r.continuation:]
	}
	errs := []error{framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: first, PadLength: uint8(r.padding),
		EndStream: r.body == "" && len(r.trailers) == 0, EndHeaders: len(rest) == 0,
	})}
	for len(rest) > 0 {
		n := min(len(rest), r.continuation)
		errs = append(errs, framer.WriteContinuation(stream, n == len(rest), rest[:n]))
		rest = rest[n:]
	}
	if r.body != "" {
		errs = append(errs, framer.WriteDataPadded(stream, len(r.trailers) == 0, []byte(r.body), make([]byte, r.padding)))
	}
	if len(r.trailers) > 0 {
		errs = append(errs, framer.WriteHeaders(http2.HeadersFrameParam{
			StreamID: stream, BlockFragment: fields.encode(r.trailers), EndStream: true, EndHeaders: true,
		}))
	}
	return errors.Join(errs...)
}

// rawQUIC is a client of HTTP/3 that sends any fields: the program of
// internal/rawquic, which has a module of its own.
type rawQUIC struct {
	orders  *json.Encoder
	answers *json.Decoder
}

// quicOrder and quicAnswer are what goes to it and comes back.
type quicOrder struct {
	Addr     string      `json:"addr"`
	Fields   [][2]string `json:"fields"`
	Body     []byte      `json:"body,omitempty"`
	Trailers [][2]string `json:"trailers,omitempty"`
	Early    bool        `json:"early,omitempty"`
}

type quicAnswer struct {
	Status string      `json:"status"`
	Fields [][2]string `json:"fields"`
	Body   []byte      `json:"body"`
	Early  bool        `json:"early"`
	Error  string      `json:"error"`
}

// startRawQUIC builds the client and runs it until the test ends.
func startRawQUIC(t *testing.T) *rawQUIC {
	t.Helper()
	program := filepath.Join(t.TempDir(), "rawquic")
	build := exec.Command("go", "build", "-C", "internal/rawquic", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building internal/rawquic: %v\n%s", err, output)
	}
	client := exec.Command(program)
	client.Stderr = os.Stderr
	stdin, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // it ends then
		if err := client.Wait(); err != nil {
			t.Errorf("rawquic: %v", err)
		}
	})
	return &rawQUIC{json.NewEncoder(stdin), json.NewDecoder(stdout)}
}

// do sends one request.
func (q *rawQUIC) do(t *testing.T, order quicOrder) quicAnswer {
	t.Helper()
	if err := q.orders.Encode(order); err != nil {
		t.Fatal(err)
	}
	var answer quicAnswer
	if err := q.answers.Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// send sends a request, and a canary on the same connection, as long as the
// server keeps that.
func (q *rawQUIC) send(t *testing.T, addr string, request, canary fieldsRequest) received {
	t.Helper()
	var got received
	for i, r := range []fieldsRequest{request, canary} {
		answer := q.do(t, quicOrder{Addr: addr, Fields: r.fields, Body: []byte(r.body), Trailers: r.trailers})
		status, _ := strconv.Atoi(answer.Status)
		got.raw = append(got.raw, fmt.Sprintln(answer.Fields)...)
		got.raw = append(got.raw, answer.Body...)
		if i == 0 {
			got.statuses = []int{status}
		} else {
			got.canary, got.body = status, string(answer.Body)
		}
	}
	return got
}
