package s3

import (
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // what an ETag is
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/johannesboyne/gofakes3"
)

const (
	minPart    = 5 << 20 // of all parts but the last
	maxUploads = 1000    // begun in one bucket
)

// upload is an object that is sent in parts. Its files are named ID-00000-SERIAL
// for itself and ID-PART-SERIAL for its parts.
type upload struct {
	id string
	*record
	file  string
	parts map[int]*object
}

// foundPart puts a file of the uploads' directory into the index. Its upload
// sorts before its parts.
func (s *store) foundPart(b *bucket, file string, r *record) error {
	name, _ := cutSerial(path.Base(file))
	id, number, _ := strings.Cut(name, "-")
	part, err := strconv.Atoi(number)
	u := b.uploads[id]
	switch {
	case err != nil:
		return errDamaged
	case part == 0:
		b.uploads[id] = &upload{id: id, record: r, file: file, parts: map[int]*object{}}
		return nil
	case u == nil: // aborted or completed, and not swept
		return s.disk.Remove(file)
	}
	next := &object{record: r, file: file}
	if old := u.parts[part]; old != nil {
		next.stale = append(old.stale, old.file)
	}
	u.parts[part] = next
	return s.sweep(next)
}

// begin begins an upload.
func (s *store) begin(ctx context.Context, bucket string, r *record) (string, error) {
	if err := s.take(ctx); err != nil {
		return "", err
	}
	defer s.giveBack()
	b, err := s.bucket(bucket)
	if err != nil {
		return "", err
	}
	if s.uploadCount(b) >= maxUploads {
		return "", slowDown()
	}
	d, err := s.draft(bucket, uploadsDir)
	if err != nil {
		return "", err
	}
	if err := d.finish(r); err != nil {
		d.discard()
		return "", err
	}
	serial := s.newSerial()
	// Uploads sort by when they began; the rest keeps ids from being guessed.
	id := serial + fmt.Sprintf("%016x", s.m.Rand("s3 upload", s.serial.Load()))
	file, err := s.publish(d, partName(id, 0)+"-"+serial)
	if err != nil {
		d.discard()
		return "", err
	}
	s.mu.Lock()
	b.uploads[id] = &upload{id: id, record: r, file: file, parts: map[int]*object{}}
	s.mu.Unlock()
	return id, nil
}

func partName(id string, part int) string { return fmt.Sprintf("%s-%05d", id, part) }

func (s *store) uploadCount(b *bucket) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(b.uploads)
}

// findUpload gives an upload and, sorted by number, its parts.
func (s *store) findUpload(bucket, key, id string) (*upload, []*object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[bucket]
	if b == nil {
		return nil, nil, noSuchBucket()
	}
	u := b.uploads[id]
	if u == nil || u.Key != key {
		return nil, nil, noSuchUpload()
	}
	parts := slices.Collect(maps.Values(u.parts))
	slices.SortFunc(parts, func(a, b *object) int { return cmp.Compare(a.Part, b.Part) })
	return u, parts, nil
}

// putPart makes a finished draft a part of an upload.
func (s *store) putPart(ctx context.Context, bucket, key, id string, d *draft, r *record) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.giveBack()
	u, _, err := s.findUpload(bucket, key, id)
	if err != nil {
		return err
	}
	file, err := s.publish(d, partName(id, r.Part)+"-"+s.newSerial())
	if err != nil {
		return err
	}
	next := &object{record: r, file: file}
	s.mu.Lock()
	if old := u.parts[r.Part]; old != nil {
		next.stale = append(slices.Clone(old.stale), old.file)
	}
	u.parts[r.Part] = next
	s.mu.Unlock()
	if err := s.sweep(next); err != nil {
		s.m.Log().Warn("s3 sweep", "error", err)
	}
	return nil
}

// abort forgets an upload and its parts.
func (s *store) abort(ctx context.Context, bucket, key, id string) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.giveBack()
	return s.forget(bucket, key, id)
}

// forget is abort for whose turn it is.
func (s *store) forget(bucket, key, id string) error {
	u, parts, err := s.findUpload(bucket, key, id)
	if err != nil {
		return err
	}
	if err := s.disk.Remove(u.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove upload: %w", err)
	}
	s.mu.Lock()
	delete(s.buckets[bucket].uploads, id)
	s.mu.Unlock()
	// Parts without an upload are removed at the next start, if not now.
	for _, p := range parts {
		err = errors.Join(err, s.sweep(p), s.disk.Remove(p.file))
	}
	if err = errors.Join(err, s.disk.SyncDir(path.Dir(u.file))); err != nil {
		return fmt.Errorf("remove upload: %w", err)
	}
	return nil
}

// complete makes an object of the parts that a client names, if the condition
// holds. The claim is the checksum that the client expects, if any.
func (s *store) complete(ctx context.Context, bucket, key, id string, named []gofakes3.CompletedPart, claim checksum, condition func(*record) *apiError) (*record, error) {
	u, parts, err := s.findUpload(bucket, key, id)
	if err != nil {
		return nil, err
	}
	chosen, e := choose(parts, named)
	if e != nil {
		return nil, e
	}
	d, err := s.draft(bucket, objectsDir)
	if err != nil {
		return nil, err
	}
	r, err := s.assemble(d, u, chosen)
	if err == nil && claim.Value != "" && claim.Value != r.Checksum.Value {
		err = badDigest(r.Checksum.Algorithm)
	}
	if err == nil {
		err = d.finish(r)
	}
	if err == nil {
		err = s.commit(ctx, bucket, id, d, r, parts, condition)
	}
	if err != nil {
		d.discard()
		return nil, err
	}
	return r, nil
}

// commit puts the assembled object, unless the upload has changed meanwhile.
func (s *store) commit(ctx context.Context, bucket, id string, d *draft, r *record, parts []*object, condition func(*record) *apiError) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.giveBack()
	_, now, err := s.findUpload(bucket, r.Key, id)
	if err != nil {
		return err
	}
	if !slices.Equal(parts, now) {
		return refuse(http.StatusConflict, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Try again.")
	}
	if err := s.replace(bucket, d, r, condition); err != nil {
		return err
	}
	// The object is stored. An upload that stays could be completed again, to
	// the same end.
	if err := s.forget(bucket, r.Key, id); err != nil {
		s.m.Log().Warn("s3 sweep", "error", err)
	}
	return nil
}

// choose finds the parts that a client names.
func choose(parts []*object, named []gofakes3.CompletedPart) ([]*object, *apiError) {
	if len(named) == 0 {
		return nil, refuse(http.StatusBadRequest, "MalformedXML", "You must specify at least one part.")
	}
	for i := range named[1:] {
		if named[i].PartNumber >= named[i+1].PartNumber {
			return nil, refuse(http.StatusBadRequest, "InvalidPartOrder", "The list of parts was not in ascending order.")
		}
	}
	var chosen []*object
	for i, n := range named {
		at, ok := slices.BinarySearchFunc(parts, n.PartNumber, func(p *object, n int) int { return cmp.Compare(p.Part, n) })
		if !ok || strings.Trim(n.ETag, `"`) != parts[at].ETag {
			return nil, refuse(http.StatusBadRequest, "InvalidPart", "One or more of the specified parts could not be found.")
		}
		if parts[at].Size < minPart && i < len(named)-1 {
			return nil, refuse(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
		}
		chosen = append(chosen, parts[at])
	}
	return chosen, nil
}

// assemble copies the parts into a draft and describes the whole.
func (s *store) assemble(d *draft, u *upload, parts []*object) (*record, error) {
	sum := checksums[u.Checksum.Algorithm]()
	whole := io.Writer(d)
	if u.Checksum.Kind == fullObject {
		whole = io.MultiWriter(d, sum)
	}
	tags := md5.New()
	for _, p := range parts {
		tag, err := hex.DecodeString(p.ETag)
		if err != nil {
			return nil, fmt.Errorf("ETag of part %d: %w", p.Part, err)
		}
		tags.Write(tag)
		if u.Checksum.Kind == composite {
			value, err := base64.StdEncoding.DecodeString(p.Checksum.Value)
			if err != nil || p.Checksum.Algorithm != u.Checksum.Algorithm {
				return nil, refuse(http.StatusBadRequest, "InvalidPart", "A part has no checksum of the upload's algorithm.")
			}
			sum.Write(value)
		}
		if err := s.copyPart(whole, p); err != nil {
			return nil, err
		}
	}
	r := &record{
		Key: u.Key, Header: u.Header, Checksum: u.Checksum, Modified: s.now(),
		ETag: fmt.Sprintf("%s-%d", hex.EncodeToString(tags.Sum(nil)), len(parts)),
	}
	r.Checksum.Value = encode(sum)
	if r.Checksum.Kind == composite {
		r.Checksum.Value += "-" + strconv.Itoa(len(parts))
	}
	return r, nil
}

func (s *store) copyPart(w io.Writer, p *object) error {
	f, err := s.disk.Open(p.file)
	if err != nil {
		return fmt.Errorf("open part: %w", err)
	}
	defer f.Close() // only read from
	if err := copyContent(w, f, p.Size); err != nil {
		return fmt.Errorf("copy part: %w", err)
	}
	return nil
}

// uploads gives the uploads of a bucket, sorted by key and then by age.
func (s *store) uploads(bucket, prefix string) ([]*upload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[bucket]
	if b == nil {
		return nil, noSuchBucket()
	}
	var out []*upload
	for _, u := range b.uploads {
		if strings.HasPrefix(u.Key, prefix) {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b *upload) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.id, b.id)) })
	return out, nil
}
