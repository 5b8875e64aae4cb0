// Accessors of kernel structures, relocated at load time to the layout of the running kernel (CO-RE).
//
// Rust cannot express these relocations yet, so this small part is C; src/kernel.rs declares its functions.
// Only the fields that are read are declared: the loader finds them by name in the kernel's type information.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define CORE __attribute__((preserve_access_index))
#define INLINE __attribute__((always_inline))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name

struct in6_addr { union { u32 u6_addr32[4]; } in6_u; } CORE;
struct sock_common {
    u32 skc_daddr;
    u32 skc_rcv_saddr;
    u16 skc_dport;
    u16 skc_num;
    u16 skc_family;
    volatile u8 skc_state;
    struct in6_addr skc_v6_daddr;
    struct in6_addr skc_v6_rcv_saddr;
} CORE;
struct sock { struct sock_common __sk_common; u16 sk_protocol; } CORE;
struct task_struct;
typedef struct { int counter; } CORE atomic_t;
struct signal_struct { atomic_t live; } CORE;
struct task_struct { int pid; int tgid; struct signal_struct *signal; } CORE;

#if defined(__TARGET_ARCH_arm64)
struct user_pt_regs { u64 regs[31]; } CORE;
struct pt_regs { union { struct user_pt_regs user_regs; }; u64 orig_x0; int syscallno; } CORE;
#else
struct pt_regs { unsigned long r10, dx, si, di, orig_ax; } CORE;
#endif

static struct task_struct *(*bpf_get_current_task_btf)(void) = (void *)158;
static struct pt_regs *(*bpf_task_pt_regs)(struct task_struct *) = (void *)175;
static u64 (*bpf_get_socket_cookie)(void *) = (void *)46;
static void *(*bpf_sk_storage_get)(void *, void *, void *, u64) = (void *)107;

// BPF_MAP_TYPE_SK_STORAGE with BPF_F_NO_PREALLOC | BPF_F_CLONE: an accepted socket begins with a copy of its
// listener's value. The value is `wire::State`.
struct state { u64 words[6]; };
struct {
    __uint(type, 24);
    __uint(map_flags, 1 | (1 << 9));
    __type(key, int);
    __type(value, struct state);
} SOCKETS __attribute__((section(".maps"), used));

INLINE void *socket_state(void *sk, u64 create) { return bpf_sk_storage_get(&SOCKETS, sk, 0, create); }
INLINE u64 socket_cookie(void *sk) { return bpf_get_socket_cookie(sk); }
INLINE u16 socket_family(void *sk) { return ((struct sock *)sk)->__sk_common.skc_family; }
INLINE u16 socket_protocol(void *sk) { return ((struct sock *)sk)->sk_protocol; }
INLINE u8 socket_tcp_state(void *sk) { return ((struct sock *)sk)->__sk_common.skc_state; }
INLINE u16 socket_local_port(void *sk) { return ((struct sock *)sk)->__sk_common.skc_num; }
INLINE u16 socket_remote_port(void *sk) { return __builtin_bswap16(((struct sock *)sk)->__sk_common.skc_dport); }
INLINE u32 socket_local_v4(void *sk) { return ((struct sock *)sk)->__sk_common.skc_rcv_saddr; }
INLINE u32 socket_remote_v4(void *sk) { return ((struct sock *)sk)->__sk_common.skc_daddr; }
INLINE u32 socket_local_v6(void *sk, u32 i)
{
    struct in6_addr *a = &((struct sock *)sk)->__sk_common.skc_v6_rcv_saddr;
    return i == 0 ? a->in6_u.u6_addr32[0] : i == 1 ? a->in6_u.u6_addr32[1]
         : i == 2 ? a->in6_u.u6_addr32[2] : a->in6_u.u6_addr32[3];
}
INLINE u32 socket_remote_v6(void *sk, u32 i)
{
    struct in6_addr *a = &((struct sock *)sk)->__sk_common.skc_v6_daddr;
    return i == 0 ? a->in6_u.u6_addr32[0] : i == 1 ? a->in6_u.u6_addr32[1]
         : i == 2 ? a->in6_u.u6_addr32[2] : a->in6_u.u6_addr32[3];
}

INLINE u32 task_tgid(void *task) { return ((struct task_struct *)task)->tgid; }
INLINE u32 task_pid(void *task) { return ((struct task_struct *)task)->pid; }
INLINE u32 task_threads_left(void *task) { return ((struct task_struct *)task)->signal->live.counter; }

// The registers with which the running task entered the kernel: the arguments of its system call.
INLINE void *task_registers(void) { return bpf_task_pt_regs(bpf_get_current_task_btf()); }
#if defined(__TARGET_ARCH_arm64)
INLINE u64 syscall_number(void *r) { return ((struct pt_regs *)r)->syscallno; }
INLINE u64 syscall_argument_2(void *r) { return ((struct pt_regs *)r)->user_regs.regs[1]; }
INLINE u64 syscall_argument_3(void *r) { return ((struct pt_regs *)r)->user_regs.regs[2]; }
#else
INLINE u64 syscall_number(void *r) { return ((struct pt_regs *)r)->orig_ax; }
INLINE u64 syscall_argument_2(void *r) { return ((struct pt_regs *)r)->si; }
INLINE u64 syscall_argument_3(void *r) { return ((struct pt_regs *)r)->dx; }
#endif

// Rust's atomics offer no read-modify-write on this target.
INLINE u64 fetch_add(u64 *value, u64 amount) { return __sync_fetch_and_add(value, amount); }

// The compiler drops bounds that it can prove and compares copies of what it uses; the verifier believes only
// what it sees done to the very register. The empty assembly makes the value new to the compiler.
INLINE u64 at_most(u64 value, u64 limit) { asm volatile("" : "+r"(value)); return value < limit ? value : limit; }
INLINE u64 masked(u64 value, u64 mask) { asm volatile("" : "+r"(value)); return value & mask; }
