// A STAND-IN for Apple's <mach/mach.h>: the one call that ios/coreml_bridge.m makes, answered from
// /proc/self/statm.
#ifndef MACH_FAKE_H
#define MACH_FAKE_H

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

typedef struct {
    uint64_t phys_footprint;
} task_vm_info_data_t;
typedef int *task_info_t;
typedef unsigned int mach_msg_type_number_t;

#define KERN_SUCCESS 0
#define TASK_VM_INFO 22
#define TASK_VM_INFO_COUNT ((mach_msg_type_number_t)(sizeof(task_vm_info_data_t) / sizeof(int)))

static inline unsigned int mach_task_self(void) {
    return 1;
}

static inline int task_info(unsigned int task, int flavor, task_info_t info,
                            mach_msg_type_number_t *count) {
    unsigned long long whole = 0;
    unsigned long long resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    int read = file != NULL ? fscanf(file, "%llu %llu", &whole, &resident) : 0;
    if (file != NULL) {
        fclose(file);
    }
    if (read != 2 || task != mach_task_self() || flavor != TASK_VM_INFO || *count == 0) {
        return 5;
    }
    ((task_vm_info_data_t *)(void *)info)->phys_footprint =
        resident * (uint64_t)sysconf(_SC_PAGESIZE);
    return KERN_SUCCESS;
}

#endif
