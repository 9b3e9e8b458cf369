package aws

import (
	"errors"
	"fmt"
	"io"
)

// section is a part of a reader, for one put. Once the put has returned it is
// not read any more: the SDK sees to that.
type section struct {
	r    io.ReadSeeker
	base int64 // of the part
	size int64
	at   int64 // within the part
}

func newSection(r io.ReadSeeker, size int64) (*section, error) {
	base, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, fmt.Errorf("find position: %w", err)
	}
	return &section{r: r, base: base, size: size}, nil
}

// Read implements io.Reader. An end before the size is an error.
func (s *section) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.size-s.at)])
	s.at += int64(n)
	if errors.Is(err, io.EOF) {
		err = nil
		if s.at < s.size {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// Seek implements io.Seeker.
func (s *section) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, errors.New("aws: seek before the start")
	}
	if _, err := s.r.Seek(s.base+offset, io.SeekStart); err != nil {
		return 0, err
	}
	s.at = offset
	return offset, nil
}
