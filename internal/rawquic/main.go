// Command rawquic sends HTTP/3 requests that no client would send: header
// fields as they are given, without a check. It is a module of its own, so that
// quic-go doesn't become a requirement of the gateway's. The tests build it,
// and write an order a line to its stdin, in JSON; it answers each with a line.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// order is a request to send.
type order struct {
	Addr     string      `json:"addr"`
	Fields   [][2]string `json:"fields"`   // those with a colon, too
	Body     []byte      `json:"body"`     // sent as DATA, if there is one
	Trailers [][2]string `json:"trailers"` // sent behind it, if there are any

	// Early has the request sent as 0-RTT data, on a connection of its own,
	// with a session ticket of the connection before.
	Early bool `json:"early"`
}

// answer is what came back.
type answer struct {
	Status string      `json:"status"`
	Fields [][2]string `json:"fields"`
	Body   []byte      `json:"body"`
	Early  bool        `json:"early"` // whether the server took the 0-RTT data
	Error  string      `json:"error"` // why there is no answer
}

// patience is how long anything may take.
const patience = 30 * time.Second

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "rawquic:", err)
		os.Exit(1)
	}
}

func run(orders io.Reader, answers io.Writer) error {
	c := &client{
		open: make(map[string]*quic.Conn),
		tls: &tls.Config{
			InsecureSkipVerify: true, //nolint:gosec // the tests' own server
			NextProtos:         []string{"h3"},
			ServerName:         "app.example.com",
			ClientSessionCache: tls.NewLRUClientSessionCache(10),
			MinVersion:         tls.VersionTLS13,
		},
	}
	lines := bufio.NewScanner(orders)
	lines.Buffer(nil, 10<<20)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fmt.Errorf("an order: %w", err)
		}
		a, err := c.send(o)
		if err != nil {
			a.Error = err.Error()
		}
		if err := json.NewEncoder(answers).Encode(a); err != nil {
			return err
		}
	}
	return lines.Err()
}

// client keeps a connection to each address for as long as it is good.
type client struct {
	open map[string]*quic.Conn
	tls  *tls.Config
}

func (c *client) send(o order) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn := c.open[o.Addr]
	if o.Early && conn != nil {
		_ = conn.CloseWithError(0x100, "") // H3_NO_ERROR
	}
	if conn == nil || o.Early || conn.Context().Err() != nil {
		var err error
		if conn, err = c.dial(ctx, o); err != nil {
			return answer{}, fmt.Errorf("connecting: %w", err)
		}
		c.open[o.Addr] = conn
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return answer{}, fmt.Errorf("opening a stream: %w", err)
	}
	_ = stream.SetDeadline(time.Now().Add(patience))
	request, err := frames(o)
	if err != nil {
		return answer{}, err
	}
	// A server that refuses what it has read so far resets the stream.
	_, writeErr := stream.Write(request)
	if writeErr == nil {
		writeErr = stream.Close()
	}
	a, err := read(stream)
	if err != nil {
		stream.CancelRead(0x10c) // H3_REQUEST_CANCELLED
		err = errors.Join(err, writeErr)
	}
	a.Early = conn.ConnectionState().Used0RTT
	return a, err
}

// dial opens a connection, and the control stream that a client must have. For
// early data it doesn't wait for the handshake.
func (c *client) dial(ctx context.Context, o order) (conn *quic.Conn, err error) {
	config := &quic.Config{HandshakeIdleTimeout: patience, MaxIdleTimeout: patience}
	if o.Early {
		conn, err = quic.DialAddrEarly(ctx, o.Addr, c.tls, config)
	} else {
		conn, err = quic.DialAddr(ctx, o.Addr, c.tls, config)
	}
	if err != nil {
		return nil, err
	}
	control, err := conn.OpenUniStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	// The stream's type, and a SETTINGS frame without settings.
	_, err = control.Write([]byte{0x00, 0x04, 0x00})
	return conn, err
}

// Types of frames (RFC 9114, section 7.2).
const (
	frameData    = 0x0
	frameHeaders = 0x1
)

// frames are the request as it goes over its stream.
func frames(o order) ([]byte, error) {
	out, err := appendHeaders(nil, o.Fields)
	if err != nil {
		return nil, err
	}
	if len(o.Body) > 0 {
		out = quicvarint.Append(out, frameData)
		out = quicvarint.Append(out, uint64(len(o.Body)))
		out = append(out, o.Body...)
	}
	if len(o.Trailers) > 0 {
		return appendHeaders(out, o.Trailers)
	}
	return out, nil
}

func appendHeaders(out []byte, fields [][2]string) ([]byte, error) {
	var block bytes.Buffer
	encoder := qpack.NewEncoder(&block)
	for _, field := range fields {
		if err := encoder.WriteField(qpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			return nil, err
		}
	}
	out = quicvarint.Append(out, frameHeaders)
	out = quicvarint.Append(out, uint64(block.Len())) //nolint:gosec // it isn't negative
	return append(out, block.Bytes()...), nil
}

// read reads an answer to its end. Those on the way, such as 103, are left out.
func read(stream io.Reader) (a answer, err error) {
	from := quicvarint.NewReader(stream)
	for {
		kind, err := quicvarint.Read(from)
		if errors.Is(err, io.EOF) && a.Status != "" {
			return a, nil
		}
		if err != nil {
			return a, fmt.Errorf("reading the answer: %w", err)
		}
		length, err := quicvarint.Read(from)
		if err != nil {
			return a, fmt.Errorf("reading a frame: %w", err)
		}
		payload, err := io.ReadAll(io.LimitReader(from, int64(length))) //nolint:gosec // a varint has 62 bits
		if err != nil {
			return a, fmt.Errorf("reading a frame: %w", err)
		}
		switch kind {
		case frameData:
			a.Body = append(a.Body, payload...)
		case frameHeaders:
			next := qpack.NewDecoder().Decode(payload)
			for {
				field, err := next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return a, fmt.Errorf("decoding the answer: %w", err)
				}
				if field.Name == ":status" {
					a.Status = field.Value
				}
				a.Fields = append(a.Fields, [2]string{field.Name, field.Value})
			}
		}
	}
}
