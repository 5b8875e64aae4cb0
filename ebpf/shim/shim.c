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

typedef struct { long long counter; } CORE atomic64_t;
typedef struct { int owned; } CORE socket_lock_t;
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
    atomic64_t skc_cookie;
} CORE;
struct socket;
struct sock {
    struct sock_common __sk_common;
    socket_lock_t sk_lock;
    u16 sk_protocol;
    u16 sk_type;
    struct socket *sk_socket;
    void *sk_bpf_storage;
} CORE;
struct unix_address { int len; } CORE;
struct unix_sock { struct unix_address *addr; struct sock *peer; } CORE;
struct inode { u16 i_mode; unsigned long i_ino; } CORE;
struct file { struct inode *f_inode; void *private_data; } CORE;
struct socket { struct file *file; struct sock *sk; } CORE;
struct fdtable { u32 max_fds; struct file **fd; } CORE;
struct files_struct { struct fdtable *fdt; } CORE;
typedef struct { int counter; } CORE atomic_t;
struct signal_struct { atomic_t live; } CORE;
struct thread_info { unsigned long flags; u32 status; } CORE;
struct task_struct {
    struct thread_info thread_info;
    u32 flags;
    int pid;
    int tgid;
    struct files_struct *files;
    struct signal_struct *signal;
} CORE;

#if defined(__TARGET_ARCH_arm64)
struct user_pt_regs { u64 regs[31]; } CORE;
struct pt_regs { union { struct user_pt_regs user_regs; }; u64 orig_x0; int syscallno; } CORE;
#else
struct pt_regs { unsigned long r14, bx, r10, ax, cx, dx, si, di, orig_ax; } CORE;
#endif

static struct task_struct *(*bpf_get_current_task_btf)(void) = (void *)158;
static struct pt_regs *(*bpf_task_pt_regs)(struct task_struct *) = (void *)175;
static u64 (*bpf_get_socket_cookie)(void *) = (void *)46;
static long (*bpf_probe_read_kernel)(void *, u32, const void *) = (void *)113;
static void *(*bpf_sk_storage_get)(void *, void *, void *, u64) = (void *)107;

// BPF_MAP_TYPE_SK_STORAGE with BPF_F_NO_PREALLOC | BPF_F_CLONE: an accepted socket begins with a copy of its
// listener's value. The value is `wire::State`.
struct state { u64 words[12]; };
struct {
    __uint(type, 24);
    __uint(map_flags, 1 | (1 << 9));
    __type(key, int);
    __type(value, struct state);
} SOCKETS __attribute__((section(".maps"), used));

INLINE void *socket_state(void *sk, u64 create)
{
    // Most sockets have no program's storage, which is seen here for less than the helper takes.
    if (!create && !((struct sock *)sk)->sk_bpf_storage) return 0;
    return bpf_sk_storage_get(&SOCKETS, sk, 0, create);
}
INLINE u64 socket_cookie(void *sk) { return bpf_get_socket_cookie(sk); }
INLINE u16 socket_family(void *sk) { return ((struct sock *)sk)->__sk_common.skc_family; }
INLINE u16 socket_protocol(void *sk) { return ((struct sock *)sk)->sk_protocol; }
INLINE u16 socket_type(void *sk) { return ((struct sock *)sk)->sk_type; }
INLINE u8 socket_tcp_state(void *sk) { return ((struct sock *)sk)->__sk_common.skc_state; }
INLINE u16 socket_local_port(void *sk) { return ((struct sock *)sk)->__sk_common.skc_num; }
INLINE u64 socket_known_cookie(void *sk) { return ((struct sock *)sk)->__sk_common.skc_cookie.counter; }
// Whether a process holds the socket's lock: not so in a soft interrupt that works on the socket.
INLINE u64 socket_is_owned(void *sk) { return ((struct sock *)sk)->sk_lock.owned != 0; }
// 0 for sockets that no process has a descriptor of. A null on the way reads as zeros.
INLINE u64 socket_file(void *sk) { return (u64)((struct sock *)sk)->sk_socket->file; }
INLINE u64 socket_inode(void *sk) { return ((struct sock *)sk)->sk_socket->file->f_inode->i_ino; }

// Below here are reads of plain addresses, which the verifier knows nothing of: what cannot be read is zero.
#define READ(to, from) bpf_probe_read_kernel(&(to), sizeof(to), &(from))

// `Descriptor` of src/kernel.rs.
struct descriptor { struct sock *sk; u64 cookie; u64 inode; u16 family; u16 protocol; u32 pad; };
enum { NO_SOCKET, A_SOCKET, GONE };
INLINE u64 descriptor_socket(u32 fd, struct descriptor *out)
{
    struct fdtable *table = bpf_get_current_task_btf()->files->fdt;
    if (fd >= table->max_fds) return GONE;
    struct file *file = 0;
    struct inode *inode = 0;
    struct socket *socket = 0;
    u16 mode = 0;
    bpf_probe_read_kernel(&file, sizeof(file), &table->fd[fd]);
    if (!file) return GONE;
    READ(inode, file->f_inode);
    READ(mode, inode->i_mode);
    if ((mode & 0170000) != 0140000) return NO_SOCKET;
    READ(socket, file->private_data);
    READ(out->sk, socket->sk);
    struct sock *sk = out->sk;
    READ(out->family, sk->__sk_common.skc_family);
    READ(out->protocol, sk->sk_protocol);
    READ(out->cookie, sk->__sk_common.skc_cookie);
    READ(out->inode, inode->i_ino);
    return A_SOCKET;
}

// `Endpoints` of src/kernel.rs.
struct endpoints { u8 local[16]; u8 remote[16]; u16 local_port; u16 remote_port; u16 family; u16 pad; };
INLINE void socket_endpoints(void *of, struct endpoints *out)
{
    struct sock *sk = of;
    READ(out->family, sk->__sk_common.skc_family);
    READ(out->local_port, sk->__sk_common.skc_num);
    READ(out->remote_port, sk->__sk_common.skc_dport);
    out->remote_port = __builtin_bswap16(out->remote_port);
    if (out->family == 10) {
        bpf_probe_read_kernel(out->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
        bpf_probe_read_kernel(out->remote, 16, &sk->__sk_common.skc_v6_daddr);
    } else {
        bpf_probe_read_kernel(out->local, 4, &sk->__sk_common.skc_rcv_saddr);
        bpf_probe_read_kernel(out->remote, 4, &sk->__sk_common.skc_daddr);
    }
}

// Copies the path of a Unix domain socket and returns its length; `room` is 112 bytes.
INLINE u32 unix_path(void *of, u8 *room)
{
    struct unix_address *address = 0;
    int length = 0;
    READ(address, ((struct unix_sock *)of)->addr);
    if (!address) return 0;
    READ(length, address->len);
    // The name follows the length: a family in two bytes, then the path.
    if (length <= 2 || length > 2 + 108) return 0;
    u32 size = length - 2;
    asm volatile("" : "+r"(size));
    if (size > 108) return 0;
    bpf_probe_read_kernel(room, size, (u8 *)&address->len + sizeof(int) + 2);
    if (room[0] == 0) {
        room[0] = '@';
        return size;
    }
    // A path may or may not have its NUL counted.
    asm volatile("" : "+r"(size));
    if (size > 1 && size <= 108 && room[size - 1] == 0) size--;
    return size;
}
INLINE void *unix_peer(void *of)
{
    struct sock *peer = 0;
    READ(peer, ((struct unix_sock *)of)->peer);
    return peer;
}

INLINE u32 task_tgid(void *task) { return ((struct task_struct *)task)->tgid; }
INLINE u32 task_pid(void *task) { return ((struct task_struct *)task)->pid; }
INLINE u32 task_threads_left(void *task) { return ((struct task_struct *)task)->signal->live.counter; }

#define PF_IO_WORKER 0x10

// `Arguments` of src/syscall.rs.
struct arguments { u64 number, first, second, third, fourth, is_32_bit; };

// The registers with which the running task entered the kernel: the arguments of its system call.
INLINE void *task_registers(void) { return bpf_task_pt_regs(bpf_get_current_task_btf()); }
INLINE u64 task_is_worker(void) { return (bpf_get_current_task_btf()->flags & PF_IO_WORKER) != 0; }
#if defined(__TARGET_ARCH_arm64)
// TIF_32BIT of arch/arm64/include/asm/thread_info.h.
INLINE u64 task_is_32_bit(void) { return bpf_get_current_task_btf()->thread_info.flags >> 22 & 1; }
// Go's own registers: https://go.dev/src/cmd/compile/abi-internal.
INLINE u64 go_g(void *of) { return ((struct pt_regs *)of)->user_regs.regs[28]; }
// The first register has the result as soon as there is one.
INLINE u64 syscall_is_running(void *of)
{
    struct pt_regs *r = of;
    return r->user_regs.regs[0] == r->orig_x0;
}
INLINE void syscall_arguments(void *of, struct arguments *out)
{
    struct pt_regs *r = of;
    out->number = r->syscallno;
    out->first = r->orig_x0;
    out->second = r->user_regs.regs[1];
    out->third = r->user_regs.regs[2];
    out->fourth = r->user_regs.regs[3];
    out->is_32_bit = task_is_32_bit();
}
#else
// TS_COMPAT of arch/x86/include/asm/thread_info.h.
INLINE u64 task_is_32_bit(void) { return bpf_get_current_task_btf()->thread_info.status >> 1 & 1; }
// Go's own registers: https://go.dev/src/cmd/compile/abi-internal.
INLINE u64 go_g(void *of) { return ((struct pt_regs *)of)->r14; }
// The result of a call is -ENOSYS until it has another one.
INLINE u64 syscall_is_running(void *of) { return ((struct pt_regs *)of)->ax == -38ul; }
INLINE void syscall_arguments(void *of, struct arguments *out)
{
    struct pt_regs *r = of;
    out->number = r->orig_ax;
    out->is_32_bit = task_is_32_bit();
    if (out->is_32_bit) {
        out->first = (u32)r->bx;
        out->second = (u32)r->cx;
        out->third = (u32)r->dx;
        out->fourth = (u32)r->si;
    } else {
        out->first = r->di;
        out->second = r->si;
        out->third = r->dx;
        out->fourth = r->r10;
    }
}
#endif

// Rust's atomics offer no read-modify-write on this target.
INLINE u64 fetch_add(u64 *value, u64 amount) { return __sync_fetch_and_add(value, amount); }
INLINE u64 compare_and_swap(u64 *value, u64 before, u64 after) { return __sync_val_compare_and_swap(value, before, after); }

// The compiler drops bounds that it can prove and compares copies of what it uses; the verifier believes only
// what it sees done to the very register. The empty assembly makes the value new to the compiler.
INLINE u64 at_most(u64 value, u64 limit) { asm volatile("" : "+r"(value)); return value < limit ? value : limit; }
INLINE u64 masked(u64 value, u64 mask) { asm volatile("" : "+r"(value)); return value & mask; }
