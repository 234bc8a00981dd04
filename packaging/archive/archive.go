// Package archive writes tar files that are the same bytes for the same contents.
package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"time"
)

// Entry is a file, a directory, whose name ends with a slash, or a link.
type Entry struct {
	Name string // relative, with slashes
	Mode int64
	ID   int // of its user and group
	Data []byte
	Link string // what a symbolic link leads to
}

// Write writes a tar file with the entries in their order, all of one time.
func Write(w io.Writer, entries []Entry, modified time.Time) error {
	archive := tar.NewWriter(w)
	for _, entry := range entries {
		header := tar.Header{
			Typeflag: tar.TypeReg, Name: entry.Name, Mode: entry.Mode, Uid: entry.ID, Gid: entry.ID,
			Size: int64(len(entry.Data)), ModTime: modified.UTC().Truncate(time.Second), Format: tar.FormatPAX,
		}
		switch {
		case entry.Link != "":
			header.Typeflag, header.Linkname = tar.TypeSymlink, entry.Link
		case strings.HasSuffix(entry.Name, "/"):
			header.Typeflag = tar.TypeDir
		}
		if err := archive.WriteHeader(&header); err != nil {
			return fmt.Errorf("archiving %s: %w", entry.Name, err)
		}
		if _, err := archive.Write(entry.Data); err != nil {
			return fmt.Errorf("archiving %s: %w", entry.Name, err)
		}
	}
	return archive.Close()
}

// Compress is data as gzip -9n writes it: without a name or a time.
func Compress(data []byte) ([]byte, error) {
	var compressed bytes.Buffer
	w, err := gzip.NewWriterLevel(&compressed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return compressed.Bytes(), nil
}
