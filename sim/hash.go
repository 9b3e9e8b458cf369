package sim

// Every random choice is a pure function of the seed and of who chooses what
// for the n-th time. FNV-1a takes in the names and a finaliser of splitmix64
// spreads the bits; both are integer arithmetic, equal on all architectures.

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func hashString(h uint64, s string) uint64 {
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return (h ^ 0xff) * fnvPrime
}

func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}

// choice is the n-th random number for what, asked by who.
func (w *World) choice(who, what string, n uint64) uint64 { return choice(w.opts.Seed, who, what, n) }

func choice(seed uint64, who, what string, n uint64) uint64 {
	h := hashString(hashString(fnvOffset, who), what)
	return mix(mix(h^mix(seed)) + n)
}

// below maps x to [0, n), in integers; the bias is far below what a run can show.
func below(x uint64, n int64) int64 {
	if n <= 0 {
		return 0
	}
	return int64(x % uint64(n))
}

// million is the denominator of all probabilities: they are parts per million.
const million = 1_000_000

func (w *World) happens(ppm int64, who, what string, n uint64) bool {
	return ppm > 0 && below(w.choice(who, what, n), million) < ppm
}
