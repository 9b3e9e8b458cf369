package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
	"sync"
	"sync/atomic"
	"time"

	"github.com/espra/protoplex/nodes"
)

const (
	objectsDir = "objects"
	uploadsDir = "uploads"
	bucketFile = "bucket.json"
	draftSign  = "." // how names of drafts begin
	maxRetries = 100 // of opening a file that is replaced all the time
	copyBuffer = 64 << 10
)

// store keeps buckets in a directory: of each a file bucket.json, and two
// directories of files with an object, or a part of an upload, in each. Every
// change makes a file of a new name and only then removes the one before, so
// that what a reader found stays what it was; of two files of one key the
// later counts.
//
// The index is in memory. It is guarded by mu, which is held for no operation
// on the disk; changes take turns.
type store struct {
	m       nodes.Machine
	disk    nodes.Disk
	dir     string
	options Options
	turn    chan struct{}
	serial  atomic.Uint64 // of the last file

	mu      sync.Mutex
	buckets map[string]*bucket
}

// bucket is guarded by the store's mutex.
type bucket struct {
	created time.Time
	objects map[string]*object
	keys    []string // of objects, sorted
	uploads map[string]*upload
}

// object is immutable but for stale, which belongs to whose turn it is.
type object struct {
	*record
	file  string
	stale []string // files of older objects of this key that could not be removed
}

// openStore reads what is there.
func openStore(m nodes.Machine, disk nodes.Disk, dir string, o Options) (*store, error) {
	s := &store{m: m, disk: disk, dir: path.Join("/", dir), options: o, turn: make(chan struct{}, 1), buckets: map[string]*bucket{}}
	// Serials never come again, also after all files that had one are gone.
	s.serial.Store(uint64(max(m.Now().UnixNano(), 0)))
	if err := s.makeDir(); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	names, err := disk.List(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list buckets: %w", err)
	}
	for _, name := range names {
		if err := s.load(name); err != nil {
			return nil, fmt.Errorf("load bucket %s: %w", name, err)
		}
	}
	return s, nil
}

// makeDir makes the store's directory, durably, if it is not there.
func (s *store) makeDir() error {
	if size, err := s.disk.Stat(s.dir); err == nil && size < 0 {
		return nil
	}
	if err := s.disk.MkdirAll(s.dir); err != nil {
		return err
	}
	for dir := s.dir; dir != "/"; {
		dir = path.Dir(dir)
		if err := s.disk.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) load(name string) error {
	data, err := nodes.ReadFile(s.disk, path.Join(s.dir, name, bucketFile), maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // not made to its end, or deleted
	}
	if err != nil {
		return err
	}
	b := newBucket(time.Time{})
	if err := json.Unmarshal(data, &b.created); err != nil {
		return fmt.Errorf("read %s: %w", bucketFile, err)
	}
	// Nobody else knows this store yet, but the rules for it hold.
	s.mu.Lock()
	s.buckets[name] = b
	s.mu.Unlock()
	return errors.Join(
		s.scan(name, objectsDir, func(file string, r *record) error { return s.found(b, file, r) }),
		s.scan(name, uploadsDir, func(file string, r *record) error { return s.foundPart(b, file, r) }),
	)
}

// scan reads the records of a directory, and removes drafts.
func (s *store) scan(bucket, sub string, use func(file string, r *record) error) error {
	dir := path.Join(s.dir, bucket, sub)
	names, err := s.disk.List(dir)
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	for _, name := range names {
		file := path.Join(dir, name)
		if strings.HasPrefix(name, draftSign) {
			if err := s.disk.Remove(file); err != nil {
				return fmt.Errorf("remove draft: %w", err)
			}
			continue
		}
		r, err := readRecord(s.disk, file)
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		_, serial := cutSerial(name)
		s.serial.Store(max(s.serial.Load(), serial))
		if err := use(file, r); err != nil {
			return err
		}
	}
	return nil
}

// cutSerial takes the serial off a file's name.
func cutSerial(name string) (string, uint64) {
	i := strings.LastIndexByte(name, '-')
	serial, err := strconv.ParseUint(name[i+1:], 16, 64)
	if i < 0 || err != nil {
		return name, 0
	}
	return name[:i], serial
}

// found puts an object of the disk into the index. Files come in the order of
// their serials within a key.
func (s *store) found(b *bucket, file string, r *record) error {
	next := &object{record: r, file: file}
	if old := b.objects[r.Key]; old != nil {
		next.stale = append(old.stale, old.file)
	}
	b.set(r.Key, next)
	return s.sweep(next)
}

// sweep removes the files that an object has replaced. Whose turn it is calls it.
func (s *store) sweep(o *object) error {
	for len(o.stale) > 0 {
		if err := s.disk.Remove(o.stale[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove replaced file: %w", err)
		}
		o.stale = o.stale[1:]
	}
	return nil
}

func newBucket(created time.Time) *bucket {
	return &bucket{created: created, objects: map[string]*object{}, uploads: map[string]*upload{}}
}

func (b *bucket) set(key string, o *object) {
	if b.objects[key] == nil {
		i, _ := slices.BinarySearch(b.keys, key)
		b.keys = slices.Insert(b.keys, i, key)
	}
	b.objects[key] = o
}

func (b *bucket) remove(key string) {
	delete(b.objects, key)
	if i, ok := slices.BinarySearch(b.keys, key); ok {
		b.keys = slices.Delete(b.keys, i, i+1)
	}
}

// take waits for the turn to change something. The caller gives it back.
func (s *store) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *store) giveBack() { <-s.turn }

// newSerial names the next file.
func (s *store) newSerial() string { return fmt.Sprintf("%016x", s.serial.Add(1)) }

// draft begins a file in one of a bucket's directories.
func (s *store) draft(bucket, sub string) (*draft, error) {
	return newDraft(s.disk, path.Join(s.dir, bucket, sub, draftSign+s.newSerial()))
}

// publish gives a finished draft its name, durably.
func (s *store) publish(d *draft, name string) (string, error) {
	dir := path.Dir(d.name)
	file := path.Join(dir, name)
	if err := s.disk.Rename(d.name, file); err != nil {
		return "", fmt.Errorf("rename file: %w", err)
	}
	if err := s.disk.SyncDir(dir); err != nil {
		// Whether it lasts is unknown; here it does not count.
		_ = s.disk.Remove(file)
		return "", fmt.Errorf("sync directory: %w", err)
	}
	return file, nil
}

func (s *store) bucket(name string) (*bucket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[name]
	if b == nil {
		return nil, noSuchBucket()
	}
	return b, nil
}

// find gives an object, nil if there is none.
func (s *store) find(bucket, key string) (*object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[bucket]
	if b == nil {
		return nil, noSuchBucket()
	}
	return b.objects[key], nil
}

// open gives an object and its file, which the caller closes.
func (s *store) open(bucket, key string) (*object, nodes.File, error) {
	for range maxRetries {
		o, err := s.find(bucket, key)
		if err != nil {
			return nil, nil, err
		}
		if o == nil {
			return nil, nil, noSuchKey()
		}
		f, err := s.disk.Open(o.file)
		if err == nil {
			return o, f, nil
		}
		if now, _ := s.find(bucket, key); now == o || !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("open object: %w", err)
		}
		// It was replaced between the look and the opening.
	}
	return nil, nil, slowDown()
}

// put makes a finished draft the object of a key, if the condition holds for
// what is there.
func (s *store) put(ctx context.Context, bucket string, d *draft, r *record, condition func(*record) *apiError) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.giveBack()
	return s.replace(bucket, d, r, condition)
}

// replace is put for whose turn it is.
func (s *store) replace(bucket string, d *draft, r *record, condition func(*record) *apiError) error {
	old, err := s.find(bucket, r.Key)
	if err != nil {
		return err
	}
	var there *record
	if old != nil {
		there = old.record
	}
	if e := condition(there); e != nil {
		return e
	}
	b, err := s.bucket(bucket)
	if err != nil {
		return err
	}
	if old == nil && s.count(b) >= s.options.MaxObjects {
		return slowDown()
	}
	hash := sha256.Sum256([]byte(r.Key))
	file, err := s.publish(d, hex.EncodeToString(hash[:])+"-"+s.newSerial())
	if err != nil {
		return err
	}
	next := &object{record: r, file: file}
	if old != nil {
		next.stale = append(slices.Clone(old.stale), old.file)
	}
	s.mu.Lock()
	b.set(r.Key, next)
	s.mu.Unlock()
	// The object is stored; files that stay behind are tried again later.
	if err := s.sweep(next); err != nil {
		s.m.Log().Warn("s3 sweep", "error", err)
	}
	return nil
}

func (s *store) count(b *bucket) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(b.keys)
}

// remove deletes the object of a key, if the condition holds.
func (s *store) remove(ctx context.Context, bucket, key string, condition func(*record) *apiError) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.giveBack()
	o, err := s.find(bucket, key)
	if err != nil {
		return err
	}
	if o == nil {
		return asError(condition(nil))
	}
	if e := condition(o.record); e != nil {
		return e
	}
	b, err := s.bucket(bucket)
	if err != nil {
		return err
	}
	// Older files first: one that came back would be an object again.
	if err := s.sweep(o); err != nil {
		return err
	}
	if err := s.disk.Remove(o.file); err != nil {
		return fmt.Errorf("remove object: %w", err)
	}
	s.mu.Lock()
	b.remove(key)
	s.mu.Unlock()
	if err := s.disk.SyncDir(path.Dir(o.file)); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// asError keeps a nil refusal from becoming an error.
func asError(e *apiError) error {
	if e == nil {
		return nil
	}
	return e
}

func (s *store) createBucket(ctx context.Context, name string) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.giveBack()
	if _, err := s.bucket(name); err == nil {
		return refuse(http.StatusConflict, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
	}
	if len(s.bucketNames()) >= s.options.MaxBuckets {
		return refuse(http.StatusBadRequest, "TooManyBuckets", "You have attempted to create more buckets than allowed.")
	}
	dir := path.Join(s.dir, name)
	for _, sub := range []string{objectsDir, uploadsDir} {
		if err := s.disk.MkdirAll(path.Join(dir, sub)); err != nil {
			return fmt.Errorf("make bucket: %w", err)
		}
		// Of a bucket of this name that was deleted in part.
		if err := s.clear(path.Join(dir, sub)); err != nil {
			return fmt.Errorf("make bucket: %w", err)
		}
	}
	created := s.m.Now().UTC()
	data, err := json.Marshal(created)
	if err != nil {
		return fmt.Errorf("make bucket: %w", err)
	}
	if err := errors.Join(nodes.WriteFile(s.disk, path.Join(dir, bucketFile), data), s.disk.SyncDir(s.dir)); err != nil {
		return fmt.Errorf("make bucket: %w", err)
	}
	s.mu.Lock()
	s.buckets[name] = newBucket(created)
	s.mu.Unlock()
	return nil
}

func (s *store) clear(dir string) error {
	names, err := s.disk.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.disk.Remove(path.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// deleteBucket deletes an empty bucket, and with it uploads that have begun.
func (s *store) deleteBucket(ctx context.Context, name string) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.giveBack()
	b, err := s.bucket(name)
	if err != nil {
		return err
	}
	if s.count(b) > 0 {
		return refuse(http.StatusConflict, "BucketNotEmpty", "The bucket you tried to delete is not empty.")
	}
	dir := path.Join(s.dir, name)
	if err := s.disk.Remove(path.Join(dir, bucketFile)); err != nil {
		return fmt.Errorf("remove bucket: %w", err)
	}
	// From here on what it would take could be lost.
	s.mu.Lock()
	delete(s.buckets, name)
	s.mu.Unlock()
	if err := s.disk.SyncDir(dir); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	// What stays behind is cleared when a bucket of this name is made.
	err = errors.Join(
		s.clear(path.Join(dir, uploadsDir)), s.disk.Remove(path.Join(dir, uploadsDir)),
		s.clear(path.Join(dir, objectsDir)), s.disk.Remove(path.Join(dir, objectsDir)), s.disk.Remove(dir),
	)
	if err != nil {
		s.m.Log().Warn("s3 sweep", "error", err)
	}
	return nil
}

func (s *store) bucketNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.buckets))
}

// list gives at most limit records whose keys begin with prefix and come after a
// key. With a delimiter, keys that go on to one after the prefix are given once,
// as what they share. More tells whether there is more behind the last.
func (s *store) list(bucket, prefix, delimiter, after string, limit int) (found []listed, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[bucket]
	if b == nil {
		return nil, false, noSuchBucket()
	}
	i, _ := slices.BinarySearch(b.keys, max(prefix, after))
	shared := ""
	for _, key := range b.keys[i:] {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		if key <= after || shared != "" && strings.HasPrefix(key, shared) {
			continue
		}
		next := listed{record: b.objects[key].record, name: key}
		if delimiter != "" {
			if j := strings.Index(key[len(prefix):], delimiter); j >= 0 {
				next = listed{name: key[:len(prefix)+j+len(delimiter)]}
				shared = next.name
				// A page that ended with this one goes on behind it.
				if strings.HasPrefix(after, shared) {
					continue
				}
			}
		}
		if len(found) == limit {
			return found, true, nil
		}
		found = append(found, next)
	}
	return found, false, nil
}

// listed is an object in a list, or, without a record, what several share.
type listed struct {
	*record
	name string
}

// copyContent copies the contents of an object or a part.
func copyContent(w io.Writer, f nodes.File, size int64) error {
	n, err := io.CopyBuffer(w, io.NewSectionReader(f, 0, size), make([]byte, copyBuffer))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return err
}
