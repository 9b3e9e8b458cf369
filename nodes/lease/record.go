package lease

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// format is of the bodies that this code writes, and all that it reads.
const format = 1

// maxTerm bounds terms, so that arithmetic with them cannot overflow, and what
// a wrong object can make others wait.
const maxTerm = time.Hour

// maxEpoch leaves room to grow; what lies beyond was never counted up to.
const maxEpoch = 1 << 62

// maxHolder bounds the name of a holder, in bytes.
const maxHolder = 256

// record is the body of a lease's object.
type record struct {
	Format  int           `json:"format"`
	Epoch   uint64        `json:"epoch"`
	Holder  string        `json:"holder"` // empty when released
	Term    time.Duration `json:"term"`   // nanoseconds, as the holder counts them
	Renewal uint64        `json:"renewal"`
	Nonce   string        `json:"nonce"` // of this put alone
}

func (r record) encode() []byte {
	body, err := json.Marshal(r)
	if err != nil {
		panic(err) // numbers and strings cannot fail
	}
	return append(body, '\n')
}

// decode reads a body strictly: who writes a field that we do not know may mean
// something by it that we would break.
func decode(body []byte) (record, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(body, &version); err != nil {
		return record{}, fmt.Errorf("not a lease: %w", err)
	}
	switch {
	case version.Format > format:
		return record{}, fmt.Errorf("of format %d, newer than %d, which is all this process knows", version.Format, format)
	case version.Format < format:
		return record{}, errors.New("not a lease: no format")
	}
	var r record
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return record{}, fmt.Errorf("not a lease: %w", err)
	}
	switch {
	case r.Epoch == 0 || r.Epoch > maxEpoch:
		return record{}, fmt.Errorf("not a lease: epoch %d", r.Epoch)
	case r.Nonce == "":
		return record{}, errors.New("not a lease: no nonce")
	case len(r.Holder) > maxHolder:
		return record{}, errors.New("not a lease: overlong holder")
	case r.Term <= 0 || r.Term > maxTerm:
		return record{}, fmt.Errorf("not a lease: term %s", r.Term)
	}
	return r, nil
}

// check says what is wrong with the arguments of an acquisition.
func check(holder string, term time.Duration) error {
	switch {
	case holder == "" || len(holder) > maxHolder || !utf8.ValidString(holder):
		return fmt.Errorf("holder %q is not 1 to %d bytes of UTF-8", holder, maxHolder)
	case term <= 0 || term > maxTerm:
		return fmt.Errorf("term %s is not within 0 and %s", term, maxTerm)
	}
	return nil
}
