// SPDX-License-Identifier: GPL-2.0
/*
 * TCG plugin: how many bytes each page of a board's memory was given by
 * instructions of its CPUs. What devices write by DMA is not counted, which is
 * the point. The counts lie in a file that the host reads while the board runs:
 * one little-endian u64 for every 4096 bytes of memory.
 *
 *   -plugin libstores.so,out=PATH,size=BYTES
 *
 * Written against version 1 of the plugin interface (QEMU 6.0 to 8.x), whose
 * header Debian does not ship; the declarations below are all that is used.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define PAGE_SHIFT 12

typedef uint64_t plugin_id;
typedef uint32_t meminfo;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;
enum { NO_REGISTERS = 0 };
enum { STORES = 2 };

typedef void (*translate_cb)(plugin_id id, struct qemu_plugin_tb *tb);
typedef void (*memory_cb)(unsigned int vcpu, meminfo info, uint64_t vaddr, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, translate_cb cb);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, memory_cb cb, int flags,
				      int which, void *data);
unsigned int qemu_plugin_mem_size_shift(meminfo info);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(meminfo info, uint64_t vaddr);
_Bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *address);
uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *address);

EXPORT int qemu_plugin_version = 1;

static uint64_t *stored;
static uint64_t pages;

static void store(unsigned int vcpu, meminfo info, uint64_t vaddr, void *data)
{
	struct qemu_plugin_hwaddr *address = qemu_plugin_get_hwaddr(info, vaddr);
	uint64_t page;

	(void)vcpu;
	(void)data;
	if (!address || qemu_plugin_hwaddr_is_io(address))
		return;
	page = qemu_plugin_hwaddr_phys_addr(address) >> PAGE_SHIFT;
	if (page < pages)
		__atomic_fetch_add(&stored[page], 1ULL << qemu_plugin_mem_size_shift(info),
				   __ATOMIC_RELAXED);
}

static void translate(plugin_id id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t i = 0; i < n; i++)
		qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), store, NO_REGISTERS,
						 STORES, NULL);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	const char *path = NULL;
	int fd;

	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4))
			path = argv[i] + 4;
		else if (!strncmp(argv[i], "size=", 5))
			pages = strtoull(argv[i] + 5, NULL, 0) >> PAGE_SHIFT;
	}
	if (!path || !pages) {
		fprintf(stderr, "stores: out= and size= are needed\n");
		return -1;
	}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, pages * sizeof(*stored))) {
		perror(path);
		return -1;
	}
	stored = mmap(NULL, pages * sizeof(*stored), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (stored == MAP_FAILED) {
		perror(path);
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	return 0;
}
