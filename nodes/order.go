package nodes

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Parent and child speak JSON objects over the control pipe, one a line. Either
// side ignores words that it does not know, so that a parent and children of
// neighbouring versions work together.
type order struct {
	Word string `json:"word"`
}

// The words of the control pipe.
const (
	wordReady  = "ready"  // child: it accepts, or will as soon as it is asked to
	wordDrain  = "drain"  // parent: health says 503 from now on, accepting goes on; child: so it does, as others ordered
	wordRetire = "retire" // parent: others accept from now on, kept connections end with their next answer
	wordStop   = "stop"   // parent: stop accepting, finish what is open, and end
)

// maxOrder bounds a line of the control pipe, in bytes.
const maxOrder = 4096

func writeOrder(w io.Writer, word string) error {
	line, err := json.Marshal(order{word})
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// readOrders calls f for each order until the pipe ends; a line that is no
// order, or too long, is an error.
func readOrders(r io.Reader, f func(word string)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 256), maxOrder)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fmt.Errorf("read order: %w", err)
		}
		f(o.Word)
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("read order: %w", err)
	}
	return nil // the other side has gone, one way or another
}
