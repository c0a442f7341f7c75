// Command go_verifier lets the Go project's own sumdb code judge a log of databund.
//
// It reads one JSON request from standard input and writes one JSON answer. It holds no cryptography and no tree
// arithmetic: notes are opened by golang.org/x/mod/sumdb/note, proofs are checked and built by
// golang.org/x/mod/sumdb/tlog.
package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is that of c2sp.org/tlog-tiles.
const tileHeight = 8

type request struct {
	// Notes to open, each with its verifier key.
	Notes []struct {
		VKey string
		Note []byte
	}
	// Inclusion proofs to check.
	Inclusions []struct {
		Index, Size int64
		Leaf, Root  []byte
		Proof       [][]byte
	}
	// Consistency proofs to check.
	Consistencies []struct {
		Old, New         int64
		OldRoot, NewRoot []byte
		Proof            [][]byte
	}
	// Tiles of one tree by path, and the proofs to build from them.
	Tiles map[string][]byte
	Size  int64
	Root  []byte
	Build []int64
	// A text to sign with a new key.
	Sign string
}

type answer struct {
	// For each item of the request the error, empty where there is none.
	Notes, Inclusions, Consistencies []string
	// The texts of the notes that opened.
	Texts []string
	// The inclusion proof of each index in Build.
	Built [][][]byte
	// The paths of the tiles that were read.
	Read []string
	// The new key and the note it signed.
	VKey string
	Note []byte
}

// tiles serves the tiles of the request, and only in the exact width that is asked for.
type tiles struct {
	content map[string][]byte
	read    *[]string
}

func (t tiles) Height() int { return tileHeight }

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	found := make([][]byte, len(wanted))
	for i, tile := range wanted {
		// Go's path names the height first; c2sp.org/tlog-tiles leaves it out.
		path := strings.Replace(tile.Path(), "tile/"+strconv.Itoa(tileHeight)+"/", "tile/", 1)
		content, ok := t.content[path]
		if !ok {
			return nil, fmt.Errorf("no tile %s", path)
		}
		*t.read = append(*t.read, path)
		found[i] = content
	}
	return found, nil
}

func hash(value []byte) (h tlog.Hash, err error) {
	if len(value) != tlog.HashSize {
		return h, fmt.Errorf("a hash of %d bytes", len(value))
	}
	copy(h[:], value)
	return h, nil
}

func hashes(values ...[]byte) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(values))
	for i, value := range values {
		h, err := hash(value)
		if err != nil {
			return nil, err
		}
		found[i] = h
	}
	return found, nil
}

func open(vkey string, data []byte) (string, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return "", err
	}
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return "", err
	}
	return opened.Text, nil
}

func sign(text string) (string, []byte, error) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "go.example/signer")
	if err != nil {
		return "", nil, err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return "", nil, err
	}
	data, err := note.Sign(&note.Note{Text: text}, signer)
	return vkey, data, err
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func judge(req request) (answer, error) {
	var ans answer
	for _, item := range req.Notes {
		text, err := open(item.VKey, item.Note)
		ans.Notes = append(ans.Notes, message(err))
		ans.Texts = append(ans.Texts, text)
	}
	for _, item := range req.Inclusions {
		ends, err := hashes(item.Root, item.Leaf)
		var proof []tlog.Hash
		if err == nil {
			proof, err = hashes(item.Proof...)
		}
		if err == nil {
			err = tlog.CheckRecord(tlog.RecordProof(proof), item.Size, ends[0], item.Index, ends[1])
		}
		ans.Inclusions = append(ans.Inclusions, message(err))
	}
	for _, item := range req.Consistencies {
		ends, err := hashes(item.NewRoot, item.OldRoot)
		var proof []tlog.Hash
		if err == nil {
			proof, err = hashes(item.Proof...)
		}
		if err == nil {
			err = tlog.CheckTree(tlog.TreeProof(proof), item.New, ends[0], item.Old, ends[1])
		}
		ans.Consistencies = append(ans.Consistencies, message(err))
	}
	for _, index := range req.Build {
		root, err := hash(req.Root)
		if err != nil {
			return ans, err
		}
		tree := tlog.Tree{N: req.Size, Hash: root}
		proof, err := tlog.ProveRecord(req.Size, index, tlog.TileHashReader(tree, tiles{req.Tiles, &ans.Read}))
		if err != nil {
			return ans, err
		}
		built := [][]byte{}
		for _, h := range proof {
			built = append(built, append([]byte{}, h[:]...))
		}
		ans.Built = append(ans.Built, built)
	}
	if req.Sign != "" {
		vkey, data, err := sign(req.Sign)
		if err != nil {
			return ans, err
		}
		ans.VKey, ans.Note = vkey, data
	}
	return ans, nil
}

func main() {
	var req request
	if err := json.NewDecoder(os.Stdin).Decode(&req); err != nil {
		fmt.Fprintln(os.Stderr, "request:", err)
		os.Exit(2)
	}
	ans, err := judge(req)
	if err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(ans); err != nil {
		fmt.Fprintln(os.Stderr, "answer:", err)
		os.Exit(2)
	}
}
