package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"runtime/debug"
	"syscall"
)

// VerifyFile checks the structure of any bbolt file without bbolt, which does not
// fail on a damaged file, but crashes its reader: by a panic, or by touching a page
// that is not there, on whichever goroutine comes across it. Every page that can
// be reached is read and checked: that it exists, is what it says, is used once,
// and holds its keys in order. What the keys and values say is for others to check.
//
// The file must not be open for writing.
func VerifyFile(path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("verify %s: %w", path, err)
		}
	}()
	// A page that the disk cannot read shows as a fault of the mapping.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("it cannot be read: %v", cause)
		}
	}()
	data, unmap, err := mapFile(path)
	if err != nil {
		return err
	}
	defer unmap()
	v := verifier{data: data}
	if err := v.readMetas(); err != nil {
		return err
	}
	if err := v.freelist(); err != nil {
		return err
	}
	return v.tree(v.root, 0, nil, nil)
}

// mapFile maps a file as it is now. Of a big file only heads and keys are read.
func mapFile(path string) (data []byte, unmap func(), err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }() // the mapping stays
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return nil, func() {}, err
	}
	if data, err = syscall.Mmap(int(file.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED); err != nil {
		return nil, nil, fmt.Errorf("map it: %w", err)
	}
	return data, func() { _ = syscall.Munmap(data) }, nil // nothing was written
}

// The layout of bbolt's pages, in the byte order of the machine.
const (
	pageHead    = 16 // id(8) flags(2) count(2) overflow(4)
	elementHead = 16
	bucketHead  = 16 // root(8) sequence(8)

	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10

	bucketElement = 0x01

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaBytes   = 64
	noFreelist  = ^uint64(0)
	// maxDepth is more than a tree, or a nest of buckets, can have.
	maxDepth = 64
)

var native = binary.NativeEndian

type verifier struct {
	data []byte

	pageSize       uint64
	root, freeList uint64
	pages          uint64 // the first page number that is not in use
	// used marks every page that was met: none may be met twice.
	used []uint64
}

// readMetas reads both meta pages. Both are whole in a file that was closed or left
// by a process that crashed: one that is not was damaged later, and bbolt would
// silently go on with what the file held before its last transaction.
func (v *verifier) readMetas() error {
	if len(v.data) < pageHead+metaBytes {
		return fmt.Errorf("it has %d bytes and no meta page", len(v.data))
	}
	v.pageSize = uint64(native.Uint32(v.data[pageHead+8:]))
	if v.pageSize < 1024 || v.pageSize > 1<<16 || v.pageSize&(v.pageSize-1) != 0 {
		return fmt.Errorf("meta page 0 is damaged: page size %d", v.pageSize)
	}
	newest := uint64(0)
	for id := range uint64(2) {
		tx, err := v.readMeta(id)
		if err != nil {
			return fmt.Errorf("meta page %d is damaged: %w", id, err)
		}
		if id == 0 || tx.id > newest {
			newest, v.root, v.freeList, v.pages = tx.id, tx.root, tx.freeList, tx.pages
		}
	}
	if there := uint64(len(v.data)) / v.pageSize; v.pages < 3 || v.pages > there {
		return fmt.Errorf("it ends after %d of %d pages: its end is missing", there, v.pages)
	}
	v.used = make([]uint64, (v.pages+63)/64)
	v.used[0] = 3
	return nil
}

type metaOfTx struct{ id, root, freeList, pages uint64 }

func (v *verifier) readMeta(id uint64) (m metaOfTx, err error) {
	if uint64(len(v.data)) < id*v.pageSize+pageHead+metaBytes {
		return m, errors.New("the file ends before it")
	}
	page := v.data[id*v.pageSize:]
	body := page[pageHead : pageHead+metaBytes]
	sum := fnv.New64a()
	_, _ = sum.Write(body[:metaBytes-8]) // never fails
	switch {
	case native.Uint64(page) != id || native.Uint16(page[8:]) != metaPage:
		return m, errors.New("it is not one")
	case native.Uint32(body) != metaMagic || native.Uint32(body[4:]) != metaVersion:
		return m, errors.New("unknown magic or version")
	case native.Uint64(body[metaBytes-8:]) != sum.Sum64():
		return m, errors.New("its checksum differs")
	case uint64(native.Uint32(body[8:])) != v.pageSize:
		return m, errors.New("its page size differs")
	}
	return metaOfTx{
		root: native.Uint64(body[16:]), freeList: native.Uint64(body[32:]),
		pages: native.Uint64(body[40:]), id: native.Uint64(body[48:]),
	}, nil
}

// read returns a page with its overflow, after it was marked as used.
func (v *verifier) read(id uint64) ([]byte, error) {
	if id < 2 || id >= v.pages {
		return nil, fmt.Errorf("page %d is outside the file", id)
	}
	head := v.data[id*v.pageSize:]
	if got := native.Uint64(head); got != id {
		return nil, fmt.Errorf("page %d is damaged: it says that it is page %d", id, got)
	}
	more := uint64(native.Uint32(head[12:]))
	if more >= v.pages-id {
		return nil, fmt.Errorf("page %d is damaged: %d more pages belong to it, beyond the end", id, more)
	}
	for i := id; i <= id+more; i++ {
		if v.used[i/64]&(1<<(i%64)) != 0 {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		v.used[i/64] |= 1 << (i % 64)
	}
	return head[: (more+1)*v.pageSize : (more+1)*v.pageSize], nil
}

func (v *verifier) freelist() error {
	if v.freeList == noFreelist {
		return nil
	}
	page, err := v.read(v.freeList)
	if err != nil {
		return err
	}
	if native.Uint16(page[8:]) != freelistPage {
		return fmt.Errorf("page %d is damaged: it is not the list of free pages", v.freeList)
	}
	count, at := uint64(native.Uint16(page[10:])), uint64(pageHead)
	if count == 0xFFFF {
		count, at = native.Uint64(page[at:]), at+8
	}
	if count > (uint64(len(page))-at)/8 {
		return fmt.Errorf("page %d is damaged: %d free pages do not fit", v.freeList, count)
	}
	for i := range count {
		id := native.Uint64(page[at+8*i:])
		if id < 2 || id >= v.pages || v.used[id/64]&(1<<(id%64)) != 0 {
			return fmt.Errorf("page %d is damaged: page %d cannot be free", v.freeList, id)
		}
		v.used[id/64] |= 1 << (id % 64)
	}
	return nil
}

// tree checks a page and all below it. Its keys must be at least low and less than
// high, where those are not nil.
func (v *verifier) tree(id uint64, depth int, low, high []byte) error {
	if depth > maxDepth {
		return fmt.Errorf("page %d is damaged: the tree is too deep", id)
	}
	page, err := v.read(id)
	if err != nil {
		return err
	}
	if err := v.page(page, depth, low, high); err != nil {
		return fmt.Errorf("page %d is damaged: %w", id, err)
	}
	return nil
}

// page checks a page that was read, also one inside a bucket's value.
func (v *verifier) page(page []byte, depth int, low, high []byte) error {
	if len(page) < pageHead {
		return errors.New("it is too short")
	}
	flags, count := native.Uint16(page[8:]), int(native.Uint16(page[10:]))
	if flags != branchPage && flags != leafPage {
		return fmt.Errorf("it is of no known kind (%x)", flags)
	}
	if pageHead+count*elementHead > len(page) {
		return fmt.Errorf("%d elements do not fit", count)
	}
	if flags == branchPage && count == 0 {
		return errors.New("it leads nowhere")
	}
	c := checkedPage{page: page, count: count, branch: flags == branchPage}
	last := low
	for i := range count {
		key, value, err := c.element(i)
		if err != nil {
			return err
		}
		// A branch's first key may be lower than what is below it, never higher.
		if (i > 0 || !c.branch) && last != nil {
			if order := bytes.Compare(last, key); order > 0 || order == 0 && i > 0 {
				return errors.New("its keys are out of order")
			}
		}
		if high != nil && bytes.Compare(key, high) >= 0 {
			return errors.New("a key belongs elsewhere")
		}
		last = key
		if err := v.below(&c, i, key, value, depth, high); err != nil {
			return err
		}
	}
	return nil
}

// below follows an element: to a branch's child, or into a bucket.
func (v *verifier) below(c *checkedPage, i int, key, value []byte, depth int, high []byte) error {
	if c.branch {
		if i+1 < c.count {
			next, _, err := c.element(i + 1)
			if err != nil {
				return err
			}
			high = next
		}
		return v.tree(c.child(i), depth+1, key, high)
	}
	if !c.bucket(i) {
		return nil
	}
	if len(value) < bucketHead {
		return fmt.Errorf("bucket %q has no head", key)
	}
	if depth > maxDepth {
		return errors.New("buckets are nested too deep")
	}
	var err error
	if root := native.Uint64(value); root != 0 {
		err = v.tree(root, depth+1, nil, nil)
	} else {
		err = v.page(value[bucketHead:], depth+1, nil, nil)
	}
	if err != nil {
		return fmt.Errorf("bucket %q: %w", key, err)
	}
	return nil
}

// checkedPage is a page whose elements are known to be inside it.
type checkedPage struct {
	page   []byte
	count  int
	branch bool
}

func (c *checkedPage) element(i int) (key, value []byte, err error) {
	at := uint64(pageHead + i*elementHead)
	e := c.page[at:]
	var from, keyLen, valueLen uint64
	if c.branch {
		from, keyLen = uint64(native.Uint32(e)), uint64(native.Uint32(e[4:]))
	} else {
		from, keyLen, valueLen = uint64(native.Uint32(e[4:])), uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
	}
	from += at
	end := from + keyLen + valueLen
	if from < uint64(pageHead+c.count*elementHead) || end > uint64(len(c.page)) {
		return nil, nil, fmt.Errorf("element %d is outside of it", i)
	}
	return c.page[from : from+keyLen], c.page[from+keyLen : end], nil
}

func (c *checkedPage) child(i int) uint64 {
	return native.Uint64(c.page[pageHead+i*elementHead+8:])
}

func (c *checkedPage) bucket(i int) bool {
	return native.Uint32(c.page[pageHead+i*elementHead:])&bucketElement != 0
}
