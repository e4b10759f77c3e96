# Third-party libraries, each as one imported target gfs_dep_<name>. docs/decisions says why each.
# script/setup installs them.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

function(gfs_dependency name)
    pkg_check_modules(DEP_${name} IMPORTED_TARGET ${ARGN})
    add_library(gfs_dep_${name} INTERFACE)
    if(DEP_${name}_FOUND)
        target_link_libraries(gfs_dep_${name} INTERFACE PkgConfig::DEP_${name})
    else()
        message(FATAL_ERROR "library '${ARGN}' not found: run script/setup")
    endif()
endfunction()

gfs_dependency(grpc grpc)
gfs_dependency(grpc_unsecure grpc_unsecure)
gfs_dependency(protobuf_c libprotobuf-c)
gfs_dependency(fuse fuse3>=3.14)
gfs_dependency(mount mount)
gfs_dependency(http libevent_core libevent_extra)
gfs_dependency(json jansson)
gfs_dependency(yaml libfyaml)
gfs_dependency(curl libcurl)
gfs_dependency(xml libxml-2.0)
gfs_dependency(crypto libcrypto)
gfs_dependency(seccomp libseccomp)

# LMDB ships a pkg-config file in some releases only.
find_library(LMDB_LIBRARY lmdb REQUIRED)
add_library(gfs_dep_lmdb INTERFACE)
target_link_libraries(gfs_dep_lmdb INTERFACE ${LMDB_LIBRARY})

find_package(GTest REQUIRED)
find_program(PROTOC_C protoc-c REQUIRED)
